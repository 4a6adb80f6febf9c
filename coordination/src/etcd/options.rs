//! How etcd is reached.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use etcd_client::{Certificate, ConnectOptions, Identity, TlsOptions};

/// Where etcd is, and how it is spoken to.
#[derive(Clone, Default)]
pub struct EtcdOptions {
    /// The client URLs of its members: `http://HOST:PORT` or `https://HOST:PORT`. Those that fail are
    /// passed over.
    pub endpoints: Vec<String>,
    /// The PEM file of the authorities that its certificates are checked against: needed with `https`.
    pub ca: Option<PathBuf>,
    /// The PEM file of our own certificate, if etcd asks for one.
    pub cert: Option<PathBuf>,
    /// The PEM file of its private key.
    pub key: Option<PathBuf>,
    /// Who we are, if etcd wants to know.
    pub user: Option<String>,
    /// That user's password.
    pub password: Option<String>,
}

impl fmt::Debug for EtcdOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { endpoints, ca, cert, key, user, password: _ } = self;
        f.debug_struct("EtcdOptions")
            .field("endpoints", endpoints)
            .field("ca", ca)
            .field("cert", cert)
            .field("key", key)
            .field("user", user)
            .finish_non_exhaustive()
    }
}

/// What is wrong with [`EtcdOptions`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EtcdOptionsError {
    /// There is nothing to connect to.
    #[error("no endpoint of etcd is given; expected one like `http://127.0.0.1:2379`")]
    NoEndpoint,
    /// An endpoint is no URL that etcd can have.
    #[error("`{0}` is no endpoint of etcd; expected one like `http://127.0.0.1:2379`")]
    BadEndpoint(String),
    /// TLS options with an endpoint that has no TLS, or the other way round.
    #[error("endpoint `{endpoint}` of etcd does not fit: {reason}")]
    Unfit {
        /// The endpoint.
        endpoint: String,
        /// What does not fit.
        reason: &'static str,
    },
    /// Options that are only good together.
    #[error("{given} of etcd is given without {missing}; give both or neither")]
    Incomplete {
        /// What is there.
        given: &'static str,
        /// What is not.
        missing: &'static str,
    },
    /// A PEM file cannot be read.
    #[error("cannot read `{path}`", path = path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
}

impl EtcdOptions {
    /// The same, if they make sense.
    pub(super) fn checked(mut self) -> Result<Self, EtcdOptionsError> {
        for endpoint in &mut self.endpoints {
            *endpoint = endpoint.trim().to_owned();
        }
        self.endpoints.retain(|endpoint| !endpoint.is_empty());
        if self.endpoints.is_empty() {
            return Err(EtcdOptionsError::NoEndpoint);
        }
        let incomplete = |given, missing| Err(EtcdOptionsError::Incomplete { given, missing });
        match (&self.cert, &self.key, &self.user, &self.password) {
            (Some(_), None, ..) => return incomplete("a certificate", "its key"),
            (None, Some(_), ..) => return incomplete("a key", "its certificate"),
            (.., Some(_), None) => return incomplete("a user", "a password"),
            (.., None, Some(_)) => return incomplete("a password", "a user"),
            _ => {}
        }
        let has_tls = self.ca.is_some() || self.cert.is_some();
        for endpoint in &self.endpoints {
            let unfit = |reason| Err(EtcdOptionsError::Unfit { endpoint: endpoint.clone(), reason });
            let host = match endpoint.split_once("://") {
                Some(("http", _)) if has_tls => {
                    return unfit("certificates need an endpoint that begins with `https://`");
                }
                Some(("https", _)) if self.ca.is_none() => {
                    return unfit("`https://` needs the PEM file of the authority that etcd's certificate is from");
                }
                Some(("http" | "https", host)) => host.strip_suffix('/').unwrap_or(host),
                _ => "",
            };
            if host.is_empty() || host.contains('/') || host.contains(char::is_whitespace) {
                return Err(EtcdOptionsError::BadEndpoint(endpoint.clone()));
            }
        }
        // To find out now whether the files can be read.
        self.tls()?;
        Ok(self)
    }

    /// What etcd's client takes. Files are read each time, because certificates are renewed.
    pub(crate) fn connect_options(&self) -> Result<ConnectOptions, EtcdOptionsError> {
        let mut options = ConnectOptions::new()
            .with_connect_timeout(Duration::from_secs(2))
            // Not more often than etcd allows by default, which is every 5 s.
            .with_keep_alive(Duration::from_secs(6), Duration::from_secs(3))
            // A member that has lost its cluster must not be believed.
            .with_require_leader(true)
            .with_auto_token_refresh(true);
        if let (Some(user), Some(password)) = (&self.user, &self.password) {
            options = options.with_user(user, password);
        }
        if let Some(tls) = self.tls()? {
            options = options.with_tls(tls);
        }
        Ok(options)
    }

    fn tls(&self) -> Result<Option<TlsOptions>, EtcdOptionsError> {
        let Some(ca) = &self.ca else { return Ok(None) };
        let mut tls = TlsOptions::new().ca_certificate(Certificate::from_pem(read(ca)?));
        if let (Some(cert), Some(key)) = (&self.cert, &self.key) {
            tls = tls.identity(Identity::from_pem(read(cert)?, read(key)?));
        }
        Ok(Some(tls))
    }
}

fn read(path: &Path) -> Result<Vec<u8>, EtcdOptionsError> {
    std::fs::read(path).map_err(|source| EtcdOptionsError::Unreadable { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_that_make_no_sense_are_refused_by_name() {
        let options = |endpoint: &str| EtcdOptions { endpoints: vec![endpoint.into()], ..EtcdOptions::default() };
        let told = |options: EtcdOptions| options.checked().unwrap_err().to_string();
        assert!(options("http://127.0.0.1:2379/").checked().is_ok());
        assert!(told(EtcdOptions::default()).contains("no endpoint"));
        for bad in ["127.0.0.1:2379", "ftp://a:1", "http://", "http://a/b"] {
            assert!(told(options(bad)).contains(&format!("`{bad}`")), "{bad}");
        }
        assert!(told(options("https://a:1")).contains("needs the PEM file"));
        let http = EtcdOptions { ca: Some("ca.pem".into()), ..options("http://a:1") };
        assert!(told(http).contains("https://"));
        let missing = EtcdOptions { ca: Some("missing.pem".into()), ..options("https://a:1") };
        assert!(told(missing).contains("`missing.pem`"));
        let lone = EtcdOptions { user: Some("u".into()), ..options("http://a:1") };
        assert!(told(lone).contains("without a password"));
    }
}
