//! The options that all daemons have, and what follows from them.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use anyhow::Context;
use clap::{Args, value_parser};
use tokio::net::TcpListener;

use crate::host::host_name;
use crate::keys;
use crate::{EtcdOptions, EtcdStore};

/// Options of every daemon, to flatten into its own.
#[derive(Clone, Debug, Args)]
#[group(skip)]
pub struct CommonOptions {
    /// The host that others reach this machine at [default: that of --listen, or the machine's name].
    #[arg(long, value_name = "HOST", env = "GALERNA_ADVERTISE")]
    advertise: Option<String>,
    /// The cluster's name.
    #[arg(long, value_name = "NAME", env = "GALERNA_CLUSTER", default_value = "default", value_parser = cluster)]
    cluster: String,
    /// After how many seconds without a sign of life it counts as lost.
    #[arg(long, value_name = "SECONDS", env = "GALERNA_LEASE", default_value = "10")]
    #[arg(value_parser = value_parser!(u64).range(1..=3600))]
    lease: u64,
    /// Where etcd is, `http://HOST:PORT` each.
    #[arg(long, value_name = "URL,…", env = "GALERNA_ETCD", value_delimiter = ',')]
    #[arg(default_value = "http://127.0.0.1:2379")]
    etcd: Vec<String>,
    /// The PEM file of the authorities that etcd's certificates are checked against.
    #[arg(long, value_name = "FILE", env = "GALERNA_ETCD_CA")]
    etcd_ca: Option<PathBuf>,
    /// The PEM file of the certificate to show to etcd.
    #[arg(long, value_name = "FILE", env = "GALERNA_ETCD_CERT")]
    etcd_cert: Option<PathBuf>,
    /// The PEM file of its key.
    #[arg(long, value_name = "FILE", env = "GALERNA_ETCD_KEY")]
    etcd_key: Option<PathBuf>,
    /// The user that etcd knows this daemon as.
    #[arg(long, value_name = "NAME", env = "GALERNA_ETCD_USER")]
    etcd_user: Option<String>,
    /// That user's password.
    #[arg(long, value_name = "PASSWORD", env = "GALERNA_ETCD_PASSWORD", hide_env_values = true)]
    etcd_password: Option<String>,
    /// A YAML file with options.
    #[arg(long, value_name = "FILE", env = "GALERNA_CONFIG")]
    config: Option<PathBuf>,
}

impl CommonOptions {
    /// The cluster's name.
    pub fn cluster(&self) -> String {
        self.cluster.clone()
    }

    /// How long a daemon lives without a sign of life.
    pub fn lease(&self) -> Duration {
        Duration::from_secs(self.lease)
    }

    /// The host that others reach this machine at.
    pub fn advertise(&self, listen: &ListenAddress) -> String {
        let host = || if listen.is_unspecified() { host_name() } else { listen.host().to_owned() };
        self.advertise.clone().unwrap_or_else(host)
    }

    /// How etcd is reached.
    pub fn etcd(&self) -> EtcdOptions {
        EtcdOptions {
            endpoints: self.etcd.iter().map(|endpoint| endpoint.trim().to_owned()).collect(),
            ca: self.etcd_ca.clone(),
            cert: self.etcd_cert.clone(),
            key: self.etcd_key.clone(),
            user: self.etcd_user.clone(),
            password: self.etcd_password.clone(),
        }
    }

    /// The store, and the listener at this address.
    ///
    /// # Errors
    /// When the options of etcd do not fit, or the address cannot be listened on.
    pub async fn open(&self, listen: &ListenAddress) -> anyhow::Result<(EtcdStore, TcpListener)> {
        let store = EtcdStore::new(self.etcd())?;
        let listener = TcpListener::bind(&listen.0).await;
        Ok((store, listener.with_context(|| format!("cannot listen on {}", listen.0))?))
    }
}

fn cluster(name: &str) -> Result<String, &'static str> {
    if keys::is_name(name) {
        return Ok(name.to_owned());
    }
    Err("expected letters, digits, `_`, `.` and `-`, a letter or digit first")
}

/// `HOST:PORT` to listen on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenAddress(String);

impl ListenAddress {
    /// As it was written.
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    fn host(&self) -> &str {
        self.0.rsplit_once(':').map_or(&self.0, |(host, _)| host)
    }

    /// Whether that is every address of the machine, which nobody can be told.
    fn is_unspecified(&self) -> bool {
        let bare = self.host().trim_start_matches('[').trim_end_matches(']');
        bare.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_unspecified())
    }
}

impl FromStr for ListenAddress {
    type Err = &'static str;

    fn from_str(address: &str) -> Result<Self, Self::Err> {
        match address.rsplit_once(':') {
            Some((host, port)) if !host.is_empty() && port.parse::<u16>().is_ok() => Ok(Self(address.to_owned())),
            _ => Err("expected HOST:PORT"),
        }
    }
}
