//! An authority, and certificates of a server and a client, made by `openssl`.

use std::fs;
use std::io::{Error, Result};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The PEM files.
#[derive(Clone, Debug)]
pub(super) struct Certificates {
    folder: PathBuf,
}

impl Certificates {
    /// Whether they can be made here.
    pub(super) fn are_possible() -> bool {
        openssl().arg("version").status().is_ok_and(|status| status.success())
    }

    pub(super) fn make(folder: &Path) -> Result<Self> {
        let made = Self { folder: folder.to_owned() };
        let (ca, ca_key) = (made.file("ca.pem"), made.file("ca.key"));
        let new_key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
        run(openssl()
            .args(["req", "-x509", "-days", "2", "-subj", "/CN=authority"])
            .args(new_key)
            .arg("-keyout")
            .arg(&ca_key)
            .arg("-out")
            .arg(&ca))?;
        for who in ["server", "client"] {
            let (request, extensions) = (made.file(&format!("{who}.csr")), made.file(&format!("{who}.ext")));
            fs::write(
                &extensions,
                "subjectAltName=IP:127.0.0.1,DNS:localhost\nextendedKeyUsage=serverAuth,clientAuth\n",
            )?;
            run(openssl()
                .args(["req", "-subj", &format!("/CN={who}")])
                .args(new_key)
                .arg("-keyout")
                .arg(made.file(&format!("{who}.key")))
                .arg("-out")
                .arg(&request))?;
            run(openssl()
                .args(["x509", "-req", "-days", "2", "-CAcreateserial", "-in"])
                .arg(&request)
                .arg("-CA")
                .arg(&ca)
                .arg("-CAkey")
                .arg(&ca_key)
                .arg("-extfile")
                .arg(&extensions)
                .arg("-out")
                .arg(made.file(&format!("{who}.pem"))))?;
        }
        Ok(made)
    }

    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }
}

fn openssl() -> Command {
    let mut command = Command::new("openssl");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

fn run(command: &mut Command) -> Result<()> {
    let status = command.status()?;
    if status.success() { Ok(()) } else { Err(Error::other(format!("{command:?}: {status}"))) }
}
