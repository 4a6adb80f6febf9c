//! `new`: a topology project to start from.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::args::New;
use super::exit::Exit;
use super::failure::Failure;
use super::io::Io;

/// The files of a project, by their path in it. `{{…}}` is filled in.
const FILES: &[(&str, &str)] = &[
    ("Cargo.toml", include_str!("../../templates/Cargo.toml.in")),
    ("README.md", include_str!("../../templates/README.md.in")),
    (".gitignore", include_str!("../../templates/gitignore.in")),
    ("topology.yaml", include_str!("../../templates/topology.yaml.in")),
    ("greetings.txt", include_str!("../../templates/greetings.txt.in")),
    ("src/main.rs", include_str!("../../templates/main.rs.in")),
    ("src/shout.rs", include_str!("../../templates/shout.rs.in")),
];

/// Where the sources of this executable lay when it was built.
const BUILT_FROM: &str = env!("CARGO_MANIFEST_DIR");

pub(super) fn run(args: &New, io: &mut Io<'_>) -> Result<Exit, Failure> {
    let name = &args.name;
    check_name(name)?;
    let folder = Path::new(name);
    make_folder(folder)?;
    let checkout = Path::new(BUILT_FROM).join("Cargo.toml").is_file().then(|| PathBuf::from(BUILT_FROM));
    let source = match &checkout {
        Some(path) => format!("path = {}", toml_string(&path.to_string_lossy())),
        None => format!("git = {}", toml_string(env!("CARGO_PKG_REPOSITORY"))),
    };
    for (path, content) in FILES {
        let content = content.replace("{{name}}", name).replace("{{galerna}}", &source);
        write(&folder.join(path), &content)?;
    }
    // The versions that this checkout was built and tested with.
    let lock = checkout.as_deref().and_then(Path::parent).map(|root| root.join("Cargo.lock"));
    if let Some(lock) = lock.and_then(|lock| fs::read_to_string(lock).ok()) {
        write(&folder.join("Cargo.lock"), &lock)?;
    }
    if checkout.is_none() {
        io.say(&format!(
            "note: the sources that this program was built from are gone; {name}/Cargo.toml names the\n      \
             repository instead: change the line `galerna = …` if you have a checkout"
        ));
    }
    io.print(&format!(
        "made {name}/, a topology with a bolt and a test; go on with\n\n    \
         cd {name}\n    cargo test\n    cargo run -- local topology.yaml\n"
    ))?;
    Ok(Exit::Done)
}

/// Names that packages and Rust programs can have.
fn check_name(name: &str) -> Result<(), Failure> {
    let refuse = |why: &str| Err(Failure::new("bad_name", format!("`{name}` is no name for a project: {why}")));
    let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if !name.starts_with(|c: char| c.is_ascii_alphabetic()) || !name.chars().all(is_plain) {
        return refuse("a letter, then letters, digits, `-` and `_` are allowed");
    }
    if name.len() > 64 {
        return refuse("64 characters are allowed");
    }
    // Words of Rust, names of its own crates, and of crates that the project itself depends on.
    const TAKEN: &[&str] = &[
        "abstract",
        "alloc",
        "as",
        "async",
        "await",
        "become",
        "box",
        "break",
        "build",
        "const",
        "continue",
        "core",
        "crate",
        "debug",
        "deps",
        "do",
        "dyn",
        "else",
        "enum",
        "examples",
        "extern",
        "false",
        "final",
        "fn",
        "for",
        "galerna",
        "gen",
        "if",
        "impl",
        "in",
        "incremental",
        "let",
        "loop",
        "macro",
        "match",
        "mod",
        "move",
        "mut",
        "override",
        "priv",
        "proc_macro",
        "pub",
        "ref",
        "release",
        "return",
        "self",
        "serde",
        "static",
        "std",
        "struct",
        "super",
        "test",
        "tokio",
        "trait",
        "true",
        "try",
        "type",
        "typeof",
        "union",
        "unsafe",
        "unsized",
        "use",
        "virtual",
        "where",
        "while",
        "yield",
    ];
    let lowered = name.to_lowercase();
    if TAKEN.contains(&lowered.replace('-', "_").as_str()) || lowered.starts_with("galerna-") {
        return refuse("it is taken by Rust, Cargo or Galerna");
    }
    Ok(())
}

/// Makes the folder, or takes an empty one.
fn make_folder(folder: &Path) -> Result<(), Failure> {
    match fs::create_dir(folder) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            let mut entries = fs::read_dir(folder).map_err(|error| match error.kind() {
                ErrorKind::NotADirectory => {
                    Failure::new("exists", format!("{} exists and is not a folder", folder.display()))
                }
                _ => Failure::io("read", folder, &error),
            })?;
            if entries.next().is_some() {
                let message = format!("the folder {} exists and is not empty", folder.display());
                return Err(Failure::new("exists", message));
            }
            Ok(())
        }
        made => made.map_err(|error| Failure::io("make the folder", folder, &error)),
    }
}

fn write(path: &Path, content: &str) -> Result<(), Failure> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(|error| Failure::io("make the folder", folder, &error))?;
    }
    fs::write(path, content).map_err(|error| Failure::io("write", path, &error))
}

/// A quoted TOML string.
fn toml_string(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}
