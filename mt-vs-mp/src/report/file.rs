//! The files that a run writes when it is over. Until then, an older file stays as it is.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
};

use anyhow::Context;
#[cfg(unix)]
use nix::sys::signal::{SigHandler, Signal, signal};
use tempfile::NamedTempFile;

/// A file that is written at the end. Whether it can be written is checked at once.
pub struct Target {
    path: PathBuf,
    /// A terminal, a pipe or `/dev/null`: it cannot be replaced, so it is opened and written to.
    special: Option<File>,
}

impl Target {
    pub fn open(path: &Path) -> anyhow::Result<Self> {
        // A file that grows beyond RLIMIT_FSIZE (ulimit -f) is to be an error. The signal would end
        // this process, which then could not remove its temporary file.
        // SAFETY: no function is set as a handler.
        #[cfg(unix)]
        unsafe { signal(Signal::SIGXFSZ, SigHandler::SigIgn) }.context("cannot ignore a signal")?;
        let special = try_out(path).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(Self {
            path: path.to_owned(),
            special,
        })
    }

    pub fn write(self, text: &str) -> anyhow::Result<()> {
        let path = &self.path;
        let written = match self.special {
            Some(mut file) => file.write_all(text.as_bytes()),
            None => replace(path, text),
        };
        written.with_context(|| format!("cannot write {}", path.display()))
    }
}

/// Returns the file if it is special. For any other file, it makes a temporary one in the same
/// folder and removes it at once.
fn try_out(path: &Path) -> io::Result<Option<File>> {
    if path.exists() {
        let file = OpenOptions::new().write(true).open(path)?;
        if !file.metadata()?.is_file() {
            return Ok(Some(file));
        }
    }
    temporary(path).map(|_| None)
}

/// Writes a temporary file, which then replaces the old one: no reader ever finds half a file.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    let mut file = temporary(path)?;
    file.write_all(text.as_bytes())?;
    // If the path is a link, the file that it names is replaced.
    file.persist(fs::canonicalize(path).unwrap_or(path.to_owned()))?;
    Ok(())
}

fn temporary(beside: &Path) -> io::Result<NamedTempFile> {
    let beside = fs::canonicalize(beside).unwrap_or(beside.to_owned());
    // That of a mere name is empty, and means the current one.
    let folder = beside.parent().unwrap_or(Path::new(""));
    let mut temporary = tempfile::Builder::new();
    temporary.prefix(".mt-vs-mp-");
    // The permissions of any new file: the system removes those that the user's umask forbids.
    #[cfg(unix)]
    temporary.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    temporary.tempfile_in(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_older_file_stays_until_the_new_one_is_whole() {
        let folder = tempfile::tempdir().expect("there is room for a folder");
        let files = || fs::read_dir(folder.path()).expect("it is there").count();
        let path = folder.path().join("report.json");
        let text = || fs::read_to_string(&path).expect("it is there");
        fs::write(&path, "an old one").expect("it can be written");

        let target = Target::open(&path).expect("it can be written");
        assert_eq!((text().as_str(), files()), ("an old one", 1));
        target.write("new").expect("there is room");
        assert_eq!((text().as_str(), files()), ("new", 1));
        assert!(Target::open(&folder.path().join("no/report.json")).is_err());
    }

    #[test]
    fn what_cannot_be_written_is_an_error_with_its_path() {
        let folder = tempfile::tempdir().expect("there is room for a folder");
        let error = Target::open(folder.path()).err().expect("it is a folder");
        let cause = format!("cannot write {}", folder.path().display());
        assert_eq!(error.to_string(), cause);
        // It was there at first.
        let path = folder.path().join("gone/report.json");
        fs::create_dir(folder.path().join("gone")).expect("there is room");
        let target = Target::open(&path).expect("it can be written");
        fs::remove_dir(folder.path().join("gone")).expect("it is empty");
        let error = target.write("new").expect_err("the folder is gone");
        assert_eq!(
            error.to_string(),
            format!("cannot write {}", path.display())
        );
    }

    #[cfg(unix)]
    #[test]
    fn a_link_stays_and_the_file_that_it_names_is_replaced() {
        use std::os::unix::fs::{PermissionsExt, symlink};
        let [folder, other] = [(), ()].map(|()| tempfile::tempdir().expect("there is room"));
        let (path, link) = (folder.path().join("report.json"), other.path().join("link"));
        fs::write(&path, "old").expect("it can be written");
        symlink(&path, &link).expect("there can be a link");
        let target = Target::open(&link).expect("it can be written");
        target.write("new").expect("there is room");
        assert!(link.is_symlink());
        assert_eq!(fs::read_to_string(&path).expect("it is there"), "new");
        // As any new file.
        let permissions = |path| {
            fs::metadata(path)
                .expect("it is there")
                .permissions()
                .mode()
        };
        let any = folder.path().join("any");
        fs::write(&any, "").expect("it can be written");
        assert_eq!(permissions(path), permissions(any));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_pipe_is_written_to_and_not_replaced() {
        use std::os::fd::AsRawFd;
        let (mut reader, writer) = io::pipe().expect("there can be a pipe");
        let path = format!("/proc/self/fd/{}", writer.as_raw_fd());
        let target = Target::open(Path::new(&path)).expect("it can be written");
        drop(writer);
        target.write("all of it").expect("somebody reads");
        assert_eq!(
            io::read_to_string(&mut reader).expect("it is open"),
            "all of it"
        );
    }
}
