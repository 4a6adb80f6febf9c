//! `open-folders`: gives folders to this process's group, as Kubernetes does with volumes of most kinds. The
//! chart calls it, as root, for those of which it does not.

use std::io;
use std::path::Path;

use super::args::OpenFolders;
use super::exit::Exit;
use super::failure::Failure;

pub(super) fn run(args: &OpenFolders) -> Result<Exit, Failure> {
    for folder in &args.folders {
        open(folder).map_err(|error| Failure::io("open", folder, &error))?;
    }
    Ok(Exit::Done)
}

/// Its group may do what its owner may, and gets what is made in it.
#[cfg(unix)]
fn open(folder: &Path) -> io::Result<()> {
    use std::os::unix::fs::{PermissionsExt, chown};

    chown(folder, None, Some(rustix::process::getegid().as_raw()))?;
    let mode = std::fs::metadata(folder)?.permissions().mode();
    std::fs::set_permissions(folder, PermissionsExt::from_mode(mode | 0o2070))
}

#[cfg(not(unix))]
fn open(_: &Path) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn folder_of_its_owner_alone_is_opened_to_the_group() {
        let folder = tempfile::tempdir().expect("a folder");
        let mode = || std::fs::metadata(folder.path()).expect("it is there").permissions().mode() & 0o7777;
        std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o750)).expect("it is ours");
        run(&OpenFolders { folders: vec![folder.path().to_owned()] }).expect("it is ours");
        assert_eq!(mode(), 0o2770);
        let missing = folder.path().join("missing");
        run(&OpenFolders { folders: vec![missing] }).expect_err("it is not there");
    }
}
