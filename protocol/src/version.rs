//! The protocol number: both ends say theirs, and a server speaks its own and the one before.

use tonic::metadata::MetadataValue;
use tonic::service::Interceptor;
use tonic::{Request, Status};

/// What this release speaks.
pub const PROTOCOL: u32 = 1;

const HEADER: &str = "galerna-protocol";

/// Refuses clients whose protocol number is neither the server's nor the one before it.
#[derive(Clone, Copy, Debug)]
pub struct VersionCheck {
    newest: u32,
}

impl VersionCheck {
    /// For a server of this release.
    pub fn new() -> Self {
        Self::of(PROTOCOL)
    }

    /// For a server that speaks this number and the one before it.
    pub fn of(newest: u32) -> Self {
        Self { newest }
    }

    /// Whether a client that says `found` is understood.
    ///
    /// # Errors
    /// With both numbers, if it is not.
    pub fn check(self, found: Option<u32>) -> Result<(), Status> {
        let newest = self.newest;
        let oldest = newest.saturating_sub(1).max(1);
        match found {
            Some(found) if (oldest..=newest).contains(&found) => Ok(()),
            found => {
                let spoken = if oldest == newest { format!("{newest}") } else { format!("{oldest} and {newest}") };
                let found = found.map_or_else(|| "none".to_owned(), |found| found.to_string());
                Err(Status::failed_precondition(format!(
                    "protocol {found} is not understood here, expected {spoken}: use releases that are at most one \
                     protocol apart"
                )))
            }
        }
    }
}

impl Default for VersionCheck {
    fn default() -> Self {
        Self::new()
    }
}

impl Interceptor for VersionCheck {
    fn call(&mut self, request: Request<()>) -> Result<Request<()>, Status> {
        let found = request.metadata().get(HEADER).and_then(|value| value.to_str().ok()?.parse().ok());
        self.check(found)?;
        Ok(request)
    }
}

/// Has a client say its protocol number.
#[derive(Clone, Copy, Debug)]
pub struct WithVersion {
    number: u32,
}

impl WithVersion {
    /// The number of this release.
    pub fn new() -> Self {
        Self::of(PROTOCOL)
    }

    /// Another number, as a client of another release says it.
    pub fn of(number: u32) -> Self {
        Self { number }
    }
}

impl Default for WithVersion {
    fn default() -> Self {
        Self::new()
    }
}

impl Interceptor for WithVersion {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request.metadata_mut().insert(HEADER, MetadataValue::from(self.number));
        Ok(request)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_speaks_its_number_and_the_one_before_and_refuses_others_with_both() {
        let check = VersionCheck::of(4);
        assert!(check.check(Some(4)).is_ok());
        assert!(check.check(Some(3)).is_ok());
        for found in [2, 5] {
            let refusal = check.check(Some(found)).expect_err("too far apart");
            assert!(refusal.message().contains(&format!("protocol {found} ")), "{refusal}");
            assert!(refusal.message().contains("expected 3 and 4"), "{refusal}");
        }
        assert!(check.check(None).is_err());
        assert!(VersionCheck::of(1).check(Some(0)).is_err());
    }
}
