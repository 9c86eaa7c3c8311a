//! A look at the file of the node's key from time to time. The running node needs it no more, but
//! without it the next start makes a new key, and the node is another peer.

use super::event::Status;
use std::io::ErrorKind::{NotADirectory, NotFound};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

/// Interval between two looks.
const LOOKING: Duration = Duration::from_secs(2);

/// Looks at the file until the node has stopped, and tells its path while it is gone.
pub(super) async fn watch(
    file: PathBuf,
    told: watch::Sender<Option<String>>,
    node: watch::Receiver<Status>,
) {
    let mut looks = interval(LOOKING);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        looks.tick().await;
        if node.has_changed().is_err() {
            return;
        }
        let path = file.clone();
        // A disk that hangs holds one thread for blocking work.
        let found = tokio::task::spawn_blocking(move || missing(&path)).await;
        let Ok(found) = found else { return };
        told.send_if_modified(|before| {
            let is_news = *before != found;
            *before = found;
            is_news
        });
    }
}

fn missing(file: &Path) -> Option<String> {
    let error = std::fs::metadata(file).err()?;
    matches!(error.kind(), NotFound | NotADirectory).then(|| file.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_removed_key_is_reported_until_it_returns() {
        let directory = tempfile::tempdir().expect("a directory");
        let folder = directory.path().join("keys");
        let file = folder.join("key");
        let (told, mut heard) = watch::channel(None);
        let (node, status) = watch::channel(Status::default());
        let write = || {
            std::fs::create_dir(&folder).expect("makes it");
            std::fs::write(&file, "a key").expect("writes");
        };
        write();
        let looking = tokio::spawn(watch(file.clone(), told, status));
        std::fs::remove_dir_all(&folder).expect("removes");
        let sentence = heard.wait_for(Option::is_some).await.expect("it looks").clone();
        assert!(sentence.is_some_and(|text| text.contains(&*file.to_string_lossy())));
        write();
        heard.wait_for(Option::is_none).await.expect("it looks");
        drop(node);
        looking.await.expect("it ends with the node");
    }
}
