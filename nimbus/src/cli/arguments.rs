//! What the daemon is told: by its command line, the environment, or a file, in this order.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Parser;
use galerna_coordination::EtcdOptions;
use serde::{Deserialize, Deserializer};

use galerna_topology_api::human::ByteSize;

use crate::options::Options;
use crate::spec::check_name;

/// Takes topologies, schedules them onto the supervisors of a Galerna cluster, and sees them through.
///
/// Each option may also stand in the environment or, under its long name, in the file that --config names;
/// the command line comes first, the file last.
#[derive(Clone, Debug, Default, PartialEq, Parser, Deserialize)]
#[command(name = "galerna-nimbus", version)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Arguments {
    /// A YAML file with options.
    #[arg(long, value_name = "FILE", env = "GALERNA_CONFIG")]
    #[serde(skip)]
    config: Option<PathBuf>,
    /// Where etcd is, `http://HOST:PORT` each [default: http://127.0.0.1:2379].
    #[arg(long, value_name = "URL,…", env = "GALERNA_ETCD", value_delimiter = ',')]
    #[serde(deserialize_with = "one_or_many")]
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
    /// The cluster's name [default: default].
    #[arg(long, value_name = "NAME", env = "GALERNA_CLUSTER")]
    cluster: Option<String>,
    /// Where to listen [default: 127.0.0.1:6627].
    #[arg(long, value_name = "HOST:PORT", env = "GALERNA_LISTEN")]
    listen: Option<String>,
    /// The host that others reach this machine at [default: that of --listen, or the machine's name].
    #[arg(long, value_name = "HOST", env = "GALERNA_ADVERTISE")]
    advertise: Option<String>,
    /// Where to keep artifacts [default: galerna-nimbus].
    #[arg(long, value_name = "DIR", env = "GALERNA_DATA")]
    data: Option<PathBuf>,
    /// The name of this nimbus in its cluster [default: its address].
    #[arg(long, value_name = "NAME", env = "GALERNA_ID")]
    id: Option<String>,
    /// After how many seconds without a sign of life it counts as lost [default: 10].
    #[arg(long, value_name = "SECONDS", env = "GALERNA_LEASE")]
    lease: Option<u64>,
    /// The longest program that is taken, such as 500MiB [default: 1GiB].
    #[arg(long, value_name = "SIZE", env = "GALERNA_ARTIFACT_LIMIT")]
    artifact_limit: Option<String>,
}

/// What follows from them.
#[derive(Debug)]
pub(super) struct Settings {
    pub(super) options: Options,
    pub(super) etcd: EtcdOptions,
    pub(super) listen: String,
}

impl Arguments {
    /// With the file and the defaults.
    pub(super) fn settled(self) -> anyhow::Result<Settings> {
        let Some(path) = &self.config else { return self.settings() };
        let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        let file = read_file(&text).with_context(|| format!("{} is no configuration", path.display()))?;
        self.or(file).settings()
    }

    fn or(self, file: Self) -> Self {
        Self {
            config: self.config,
            etcd: if self.etcd.is_empty() { file.etcd } else { self.etcd },
            etcd_ca: self.etcd_ca.or(file.etcd_ca),
            etcd_cert: self.etcd_cert.or(file.etcd_cert),
            etcd_key: self.etcd_key.or(file.etcd_key),
            etcd_user: self.etcd_user.or(file.etcd_user),
            etcd_password: self.etcd_password.or(file.etcd_password),
            cluster: self.cluster.or(file.cluster),
            listen: self.listen.or(file.listen),
            advertise: self.advertise.or(file.advertise),
            data: self.data.or(file.data),
            id: self.id.or(file.id),
            lease: self.lease.or(file.lease),
            artifact_limit: self.artifact_limit.or(file.artifact_limit),
        }
    }

    fn settings(self) -> anyhow::Result<Settings> {
        let defaults = Options::default();
        let listen = self.listen.unwrap_or_else(|| "127.0.0.1:6627".to_owned());
        let host = match listen.rsplit_once(':') {
            Some((host, port)) if !host.is_empty() && port.parse::<u16>().is_ok() => host,
            _ => bail!("`{listen}` is no address to listen on, expected HOST:PORT"),
        };
        let lease = self.lease.map_or(defaults.lease, Duration::from_secs);
        if !(1..=3600).contains(&lease.as_secs()) {
            bail!("a lease of {} s makes no sense, expected 1 to 3600", lease.as_secs());
        }
        let own_host = || if is_unspecified(host) { host_name() } else { host.to_owned() };
        let cluster = self.cluster.unwrap_or(defaults.cluster);
        if check_name(&cluster).is_err() {
            bail!("`{cluster}` is no name of a cluster, expected letters, digits, `_`, `.` and `-`");
        }
        let artifact_limit = match &self.artifact_limit {
            Some(limit) => limit.parse::<ByteSize>()?.0,
            None => defaults.artifact_limit,
        };
        let options = Options {
            cluster,
            id: self.id.unwrap_or(defaults.id),
            advertise: self.advertise.unwrap_or_else(own_host),
            data: self.data.unwrap_or(defaults.data),
            lease,
            artifact_limit,
            ..Options::default()
        };
        let endpoints = if self.etcd.is_empty() { vec!["http://127.0.0.1:2379".to_owned()] } else { self.etcd };
        let etcd = EtcdOptions {
            endpoints,
            ca: self.etcd_ca,
            cert: self.etcd_cert,
            key: self.etcd_key,
            user: self.etcd_user,
            password: self.etcd_password,
        };
        Ok(Settings { options, etcd, listen })
    }
}

/// An empty file says nothing.
fn read_file(text: &str) -> Result<Arguments, serde_yaml::Error> {
    Ok(serde_yaml::from_str::<Option<Arguments>>(text)?.unwrap_or_default())
}

fn is_unspecified(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    bare.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_unspecified())
}

fn host_name() -> String {
    #[cfg(unix)]
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    #[cfg(not(unix))]
    let name = String::new();
    if name.is_empty() { "localhost".to_owned() } else { name }
}

fn one_or_many<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "expected a URL or a list of URLs")]
    enum OneOrMany {
        One(String),
        Many(Vec<String>),
    }
    Ok(match OneOrMany::deserialize(deserializer)? {
        OneOrMany::One(urls) => urls.split(',').map(|url| url.trim().to_owned()).collect(),
        OneOrMany::Many(urls) => urls,
    })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn parsed(arguments: &[&str]) -> Arguments {
        Arguments::try_parse_from(std::iter::once(&"galerna-nimbus").chain(arguments)).expect("they are right")
    }

    #[test]
    fn the_command_line_comes_before_the_file_and_the_file_before_defaults() {
        Arguments::command().debug_assert();
        let file = "etcd: http://a:1, http://b:1\ncluster: blue\nlisten: 0.0.0.0:7000\nid: n1\nartifact-limit: 2MiB\n";
        let arguments = parsed(&["--cluster", "red", "--etcd", "http://c:1,http://d:1", "--lease", "2"]);
        let settings = arguments.or(read_file(file).expect("it is right")).settings().expect("they fit");
        assert_eq!(settings.etcd.endpoints, ["http://c:1", "http://d:1"]);
        assert_eq!((settings.options.cluster.as_str(), settings.options.id.as_str()), ("red", "n1"));
        assert_eq!((settings.listen.as_str(), settings.options.lease.as_secs()), ("0.0.0.0:7000", 2));
        assert_eq!(settings.options.advertise, host_name());
        assert_eq!(settings.options.artifact_limit, 2 * 1024 * 1024);
        assert_eq!(read_file(file).expect("it is right").etcd, ["http://a:1", "http://b:1"]);
    }

    #[test]
    fn what_makes_no_sense_is_refused_by_name() {
        assert!(read_file("").expect("empty") == Arguments::default());
        let unknown = read_file("listne: 4\n").expect_err("no such option").to_string();
        assert!(unknown.contains("`listne`") && unknown.contains("`listen`"), "{unknown}");
        for bad in [["--listen", "6627"], ["--lease", "0"], ["--cluster", "a/b"], ["--artifact-limit", "much"]] {
            let told = parsed(&bad).settings().expect_err("it is wrong").to_string();
            assert!(told.contains(bad[1]), "{told}");
        }
    }
}
