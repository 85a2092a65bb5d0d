//! The exercises: changes that a README proposes, each a patch in `exercises/<demo>/`.
//!
//! A patch file begins with a text. The text has a console block, which shows what the changed
//! program prints. Here, each patch is applied to a copy of the workspace, and the block is run.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use super::{DEMO, SEEN_HERE, console, read, root};

/// The paths of the demo's patches, relative to the root.
fn patches() -> Vec<PathBuf> {
    let folder = Path::new("exercises").join(DEMO);
    let Ok(entries) = fs::read_dir(root().join(&folder)) else {
        return Vec::new();
    };
    let entries = entries.map(|entry| entry.expect("a folder can be read"));
    let mut patches: Vec<PathBuf> = entries
        .map(|entry| folder.join(entry.file_name()))
        .collect();
    patches.sort();
    patches
}

#[test]
fn the_readme_names_every_exercise() {
    for patch in patches() {
        let readme = root().join(DEMO).join("README.md");
        let readme = fs::read_to_string(readme).unwrap_or_default();
        let link = format!("](../{})", patch.display());
        assert!(
            readme.contains(&link),
            "{DEMO}/README.md has no link {link}"
        );
    }
}

#[ignore = "it builds the demo anew for each exercise"]
#[test]
fn an_exercise_does_what_its_text_says() {
    if !SEEN_HERE {
        return;
    }
    let mut failures = String::new();
    for patch in patches() {
        println!("{}", patch.display());
        let text = read(&patch);
        let blocks = console::blocks(&text);
        assert!(!blocks.is_empty(), "{} shows no output", patch.display());
        let program = build_with(&patch);
        for block in blocks {
            for mismatch in block.mismatches(&program) {
                failures += &format!("{}:{}: {mismatch}\n", patch.display(), block.line);
            }
        }
    }
    assert!(failures.is_empty(), "\n{failures}");
}

/// Builds the demo with a patch applied, and returns the path of the program.
fn build_with(patch: &Path) -> PathBuf {
    // This folder is kept, so that the libraries are built only once.
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("exercises");
    let copy = folder.join(DEMO);
    let _ = fs::remove_dir_all(&copy);
    fs::create_dir_all(&copy).expect("a folder can be made");
    // Cargo reads the manifests of all members, and looks for their sources.
    let entries = fs::read_dir(root()).expect("the workspace can be read");
    for entry in entries {
        let path = entry.expect("the workspace can be read").path();
        if path.join("Cargo.toml").exists()
            || path.extension().is_some_and(|e| e == "toml" || e == "lock")
        {
            run(Command::new("cp").arg("-R").arg(path).arg(&copy));
        }
    }
    run(Command::new("git")
        .arg("apply")
        .arg(root().join(patch))
        .current_dir(&copy)
        // Without this, git would find our repository above this folder, and take the paths in the
        // patch as relative to that repository.
        .env("GIT_CEILING_DIRECTORIES", &folder));
    let target = folder.join("target");
    run(Command::new(env!("CARGO"))
        .args([
            "build",
            "--quiet",
            "--offline",
            "--locked",
            "--package",
            DEMO,
            "--bins",
        ])
        .current_dir(&copy)
        .env("CARGO_TARGET_DIR", &target)
        .env("CARGO_PROFILE_DEV_DEBUG", "0"));
    target.join("debug").join(DEMO)
}

#[track_caller]
fn run(command: &mut Command) {
    let output = command.output().expect("the command can be run");
    assert!(
        output.status.success(),
        "{command:?}: {}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
}
