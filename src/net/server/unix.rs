//! A Unix socket that only its owner may use, at no moment anybody else.
//!
//! The system makes a socket's file with the rights that the process gives to any file. So it is made
//! in a directory that only its owner may enter, given its rights there, and then renamed: whoever
//! sees it at its place sees it as it shall be.

use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};

use tokio::net::UnixListener;

use super::failure::Failure;

/// A socket that is listened on. Its file goes with it.
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
    let room = Room::beside(path).map_err(failed)?;
    let made = room.0.join("s");
    let listener = UnixListener::bind(&made).map_err(failed)?;
    let owner = std::fs::Permissions::from_mode(0o600);
    std::fs::set_permissions(&made, owner).map_err(failed)?;
    std::fs::rename(&made, path).map_err(failed)?;
    Ok((listener, SocketFile(path.to_owned())))
}

/// Fails if somebody listens there, or the file is no socket.
fn is_free(path: &Path) -> io::Result<()> {
    match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
        Ok(file) if !file.file_type().is_socket() => {
            Err(io::Error::new(io::ErrorKind::AlreadyExists, "the file is no socket"))
        }
        Ok(_) if std::os::unix::net::UnixStream::connect(path).is_ok() => {
            Err(io::ErrorKind::AddrInUse.into())
        }
        Ok(_) => Ok(()),
    }
}

/// A directory that nobody else may enter, until it is dropped.
struct Room(PathBuf);

impl Room {
    fn beside(path: &Path) -> io::Result<Room> {
        // Short: the path of a socket has 107 bytes at most.
        let name = format!(".{:x}", std::process::id());
        let room = path.parent().unwrap_or(Path::new("")).join(name);
        // What a killed server of the same number has left.
        let _ = std::fs::remove_file(room.join("s"));
        let _ = std::fs::remove_dir(&room);
        std::fs::DirBuilder::new().mode(0o700).create(&room)?;
        Ok(Room(room))
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(self.0.join("s"));
        let _ = std::fs::remove_dir(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_socket_is_its_owners_and_replaces_only_what_is_left_behind() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("socket");
        let (listener, file) = bind(&path).unwrap();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "nothing is left beside it");
        assert!(bind(&path).is_err(), "somebody listens there");
        drop(listener);
        std::mem::forget(file); // as a killed server does
        let (_listener, file) = bind(&path).unwrap();
        tokio::net::UnixStream::connect(&path).await.unwrap();
        drop(file);
        assert!(!path.exists());
        std::fs::write(&path, "somebody's").unwrap();
        assert!(bind(&path).unwrap_err().to_string().contains("no socket"));
        assert!(path.exists());
    }
}
