//! Reads numbers and bytes of a frame, never beyond its end.

use super::WireError;

pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(super) fn byte(&mut self) -> Result<u8, WireError> {
        let (byte, rest) = self.rest.split_first().ok_or(WireError::Short)?;
        self.rest = rest;
        Ok(*byte)
    }

    pub(super) fn bytes(&mut self, len: usize) -> Result<&'a [u8], WireError> {
        let (bytes, rest) = self.rest.split_at_checked(len).ok_or(WireError::Short)?;
        self.rest = rest;
        Ok(bytes)
    }

    /// Eight bytes as they are.
    pub(super) fn fixed(&mut self) -> Result<u64, WireError> {
        let (bytes, rest) = self.rest.split_first_chunk::<8>().ok_or(WireError::Short)?;
        self.rest = rest;
        Ok(u64::from_le_bytes(*bytes))
    }

    pub(super) fn number<T: TryFrom<u64>>(&mut self) -> Result<T, WireError> {
        let mut number = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                return Err(WireError::Range);
            }
            number |= bits << shift;
            if byte & 0x80 == 0 {
                return T::try_from(number).map_err(|_| WireError::Range);
            }
        }
        Err(WireError::Range)
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
