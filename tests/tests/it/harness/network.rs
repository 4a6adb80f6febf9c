//! A network that can be cut: a bridge in the tests' own namespace, and behind each of its ports a
//! namespace with one address.
//!
//! The ports of a cut are *isolated*: frames between them vanish without a word, as with a broken
//! switch, while all of them still reach the bridge's own address, where etcd and Nimbus listen.

use std::process::{self, Command};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result, ensure};

/// A bridge and its namespaces. Dropping it removes them.
#[derive(Debug)]
pub(crate) struct Network {
    bridge: String,
    host: String,
    members: Vec<Member>,
}

#[derive(Debug)]
struct Member {
    namespace: String,
    /// Its port of the bridge.
    port: String,
    address: String,
}

impl Network {
    /// One with this many namespaces.
    pub(crate) fn new(members: usize) -> Result<Self> {
        static NETWORKS: AtomicU32 = AtomicU32::new(0);
        // Names of interfaces have 15 characters at most.
        let number = (process::id() % 10_000) * 10 + NETWORKS.fetch_add(1, Ordering::Relaxed) % 10;
        let subnet = format!("10.{}.{}", 128 + (number >> 8) % 64, number % 256);
        let mut network = Self { bridge: format!("gt{number}"), host: format!("{subnet}.1"), members: Vec::new() };
        ip(&["link", "add", &network.bridge, "type", "bridge"])?;
        ip(&["addr", "add", &format!("{}/24", network.host), "dev", &network.bridge])?;
        ip(&["link", "set", &network.bridge, "up"])?;
        for index in 0..members {
            let member = Member {
                namespace: format!("gt{number}-{index}"),
                port: format!("gt{number}p{index}"),
                address: format!("{subnet}.{}", index + 2),
            };
            network.members.push(member);
            network.connect(index)?;
        }
        Ok(network)
    }

    fn connect(&self, index: usize) -> Result<()> {
        let Member { namespace, port, address } = &self.members[index];
        ip(&["netns", "add", namespace])?;
        ip(&["link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", namespace])?;
        ip(&["link", "set", port, "master", &self.bridge, "up"])?;
        ip(&["-n", namespace, "addr", "add", &format!("{address}/24"), "dev", "eth0"])?;
        ip(&["-n", namespace, "link", "set", "lo", "up"])?;
        ip(&["-n", namespace, "link", "set", "eth0", "up"])
    }

    /// The address of the tests' own namespace, which all members reach.
    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    /// The address of a member.
    pub(crate) fn member(&self, index: usize) -> &str {
        &self.members[index].address
    }

    /// The namespace of a member.
    pub(crate) fn namespace(&self, index: usize) -> &str {
        &self.members[index].namespace
    }

    /// Cuts members off from each other, but not from the host.
    pub(crate) fn cut(&self) -> Result<()> {
        self.isolate("on")
    }

    /// Undoes it.
    pub(crate) fn heal(&self) -> Result<()> {
        self.isolate("off")
    }

    fn isolate(&self, state: &str) -> Result<()> {
        self.members
            .iter()
            .try_for_each(|member| ip(&["link", "set", "dev", &member.port, "type", "bridge_slave", "isolated", state]))
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for member in &self.members {
            // Its end of the port goes with the namespace.
            let _ = ip(&["netns", "del", &member.namespace]);
        }
        let _ = ip(&["link", "del", &self.bridge]);
    }
}

/// Why no network can be made here, if so: that takes root and Linux's bridges.
pub(crate) fn why_no_namespaces() -> Option<String> {
    Network::new(1).and_then(|network| network.cut()).err().map(|error| format!("{error:#}"))
}

fn ip(arguments: &[&str]) -> Result<()> {
    let command = format!("ip {}", arguments.join(" "));
    let output = Command::new("ip").args(arguments).output().with_context(|| format!("cannot run `{command}`"))?;
    ensure!(output.status.success(), "`{command}`: {}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(())
}
