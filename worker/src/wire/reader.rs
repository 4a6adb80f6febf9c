//! Reads numbers and bytes of a frame, never beyond its end.

use super::WireError;

pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    #[inline]
    pub(super) fn byte(&mut self) -> Result<u8, WireError> {
        let (byte, rest) = self.rest.split_first().ok_or(WireError::Short)?;
        self.rest = rest;
        Ok(*byte)
    }

    #[inline]
    pub(super) fn bytes(&mut self, len: usize) -> Result<&'a [u8], WireError> {
        let (bytes, rest) = self.rest.split_at_checked(len).ok_or(WireError::Short)?;
        self.rest = rest;
        Ok(bytes)
    }

    /// Eight bytes as they are.
    #[inline]
    pub(super) fn fixed(&mut self) -> Result<u64, WireError> {
        let (bytes, rest) = self.rest.split_first_chunk::<8>().ok_or(WireError::Short)?;
        self.rest = rest;
        Ok(u64::from_le_bytes(*bytes))
    }

    #[inline]
    pub(super) fn number<T: TryFrom<u64>>(&mut self) -> Result<T, WireError> {
        let number = match self.rest {
            [byte @ ..0x80, rest @ ..] => {
                self.rest = rest;
                u64::from(*byte)
            }
            _ => self.long_number()?,
        };
        T::try_from(number).map_err(|_| WireError::Range)
    }

    fn long_number(&mut self) -> Result<u64, WireError> {
        let mut number = 0;
        for (at, byte) in self.rest.iter().take(10).enumerate() {
            let bits = u64::from(byte & 0x7f);
            if at == 9 && bits > 1 {
                return Err(WireError::Range);
            }
            number |= bits << (at * 7);
            if byte & 0x80 == 0 {
                self.rest = &self.rest[at + 1..];
                return Ok(number);
            }
        }
        Err(if self.rest.len() < 10 { WireError::Short } else { WireError::Range })
    }

    /// A number of things of at least `least` bytes each, which the rest must be able to hold.
    pub(super) fn count(&mut self, least: usize) -> Result<usize, WireError> {
        let count: usize = self.number()?;
        self.check_room(count.checked_mul(least).ok_or(WireError::Range)?)?;
        Ok(count)
    }

    /// Refuses a claim of more bytes than are left, before memory is set aside for it.
    pub(super) fn check_room(&self, bytes: usize) -> Result<(), WireError> {
        if bytes > self.rest.len() { Err(WireError::Short) } else { Ok(()) }
    }

    pub(super) fn finish(&self) -> Result<(), WireError> {
        if self.rest.is_empty() { Ok(()) } else { Err(WireError::Long(self.rest.len())) }
    }
}
