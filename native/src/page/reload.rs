//! Reads the page's folder again after it has changed.
//!
//! A new `index.html` is the sign of a change: a build of the page writes that file last. Between
//! two looks at it, [`PERIOD`] passes. The folder's bounds are those of [`PageFiles::folder`], so
//! two pages are in memory at most.

use super::PageFiles;
use super::answer::Site;
use opp2p_node::panics;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::task::{JoinHandle, spawn_blocking};

/// Interval between two looks at `index.html`.
const PERIOD: Duration = Duration::from_secs(1);

/// Watches `folder` in a separate task, and replaces the site's files after each change.
pub(super) fn start(folder: PathBuf, site: Arc<Site>) -> JoinHandle<()> {
    tokio::spawn(async move {
        let _ = panics::guard("watch on the page's folder", watch(folder, site)).await;
    })
}

/// Time and size of `index.html`, or `None` if it is missing.
type Mark = Option<(SystemTime, u64)>;

async fn watch(folder: PathBuf, site: Arc<Site>) {
    // The page was read before this task started: the first look reads it once more.
    let mut read: Mark = None;
    let mut failed = false;
    loop {
        tokio::time::sleep(PERIOD).await;
        let (folder, earlier) = (folder.clone(), read);
        // It can only fail by a panic or at the end of the runtime.
        let Ok((mark, files)) = spawn_blocking(move || look(&folder, earlier)).await else {
            return;
        };
        match files {
            Some(Ok(files)) => {
                site.replace(files);
                (read, failed) = (mark, false);
            }
            // A program may be writing the folder at this moment: the next look reads it again.
            Some(Err(error)) if !failed => {
                tracing::warn!(%error, "the page's folder changed; its earlier files are served");
                failed = true;
            }
            Some(Err(_)) | None => {}
        }
    }
}

/// Returns the mark of the folder, and its files if the mark differs from that of the last reading.
fn look(folder: &Path, read: Mark) -> (Mark, Option<Result<PageFiles, super::PageError>>) {
    let index = fs::metadata(folder.join("index.html"));
    let mark = index.and_then(|index| Ok((index.modified()?, index.len()))).ok();
    let changed = mark.is_some() && mark != read;
    (mark, changed.then(|| PageFiles::folder(folder)))
}
