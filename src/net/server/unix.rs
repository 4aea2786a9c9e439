//! A Unix socket that only its owner can use, at every moment.
//!
//! `bind` creates the socket file with the default permissions of the process. So it is created in a
//! private directory, gets its permissions there, and is then renamed to its path.

use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};

use tokio::net::UnixListener;

use super::failure::Failure;

/// The file of a listening socket, removed when dropped.
#[derive(Debug)]
pub(super) struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Listens on `path`. A file that a killed server left behind is replaced.
pub(super) fn bind(path: &Path) -> Result<(UnixListener, SocketFile), Failure> {
    let failed = |source| Failure::Io { action: format!("listen on {}", path.display()), source };
    is_free(path).map_err(failed)?;
    let private = PrivateDir::beside(path).map_err(failed)?;
    let socket = private.0.join("s");
    let listener = UnixListener::bind(&socket).map_err(failed)?;
    let owner = std::fs::Permissions::from_mode(0o600);
    std::fs::set_permissions(&socket, owner).map_err(failed)?;
    std::fs::rename(&socket, path).map_err(failed)?;
    Ok((listener, SocketFile(path.to_owned())))
}

/// Fails if a process listens on `path`, or the file is not a socket.
fn is_free(path: &Path) -> io::Result<()> {
    match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
        Ok(file) if !file.file_type().is_socket() => {
            Err(io::Error::new(io::ErrorKind::AlreadyExists, "the file is not a socket"))
        }
        Ok(_) if std::os::unix::net::UnixStream::connect(path).is_ok() => {
            Err(io::ErrorKind::AddrInUse.into())
        }
        Ok(_) => Ok(()),
    }
}

/// A directory that only its owner can enter, removed when dropped.
struct PrivateDir(PathBuf);

impl PrivateDir {
    fn beside(path: &Path) -> io::Result<PrivateDir> {
        // Short: the path of a socket has 107 bytes at most.
        let name = format!(".{:x}", std::process::id());
        let dir = path.parent().unwrap_or(Path::new("")).join(name);
        // A killed server with the same process id may have left one.
        let _ = std::fs::remove_file(dir.join("s"));
        let _ = std::fs::remove_dir(&dir);
        std::fs::DirBuilder::new().mode(0o700).create(&dir)?;
        Ok(PrivateDir(dir))
    }
}

impl Drop for PrivateDir {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(self.0.join("s"));
        let _ = std::fs::remove_dir(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_socket_is_private_and_replaces_only_one_without_a_server() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("socket");
        let (listener, file) = bind(&path).unwrap();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "nothing is left beside it");
        assert!(bind(&path).is_err(), "a process listens there");
        drop(listener);
        std::mem::forget(file); // as a killed server does
        let (_listener, file) = bind(&path).unwrap();
        tokio::net::UnixStream::connect(&path).await.unwrap();
        drop(file);
        assert!(!path.exists());
        std::fs::write(&path, "a file").unwrap();
        assert!(bind(&path).unwrap_err().to_string().contains("not a socket"));
        assert!(path.exists());
    }
}
