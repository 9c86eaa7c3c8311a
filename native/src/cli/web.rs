//! Flags for the observer page.

use super::{Failure, path};
use crate::page::{Page, PageConfig, PageError, PageFiles, PageStart, Refresh};
use std::net::SocketAddr;
use std::path::PathBuf;

#[derive(clap::Args, Clone, Debug)]
#[command(next_help_heading = "Browsers")]
pub(super) struct WebArgs {
    /// Serve the observer page, which joins the chain's gossip in a browser, over HTTP on this
    /// IP:PORT.
    #[arg(
        id = "web_listen", long = "web.listen", env = "OP_NODE_WEB_LISTEN",
        value_name = "ADDR", value_parser = listen
    )]
    listen: Option<Listen>,
    /// Folder with the page in place of the one in this binary; read again when its index.html
    /// changes.
    #[arg(
        id = "web_root", long = "web.root", env = "OP_NODE_WEB_ROOT",
        value_name = "DIR", value_parser = path()
    )]
    root: Option<PathBuf>,
}

/// An address, or `None`: an empty environment variable counts as unset.
#[derive(Clone, Copy, Debug)]
struct Listen(Option<SocketAddr>);

fn listen(text: &str) -> Result<Listen, String> {
    if text.is_empty() {
        return Ok(Listen(None));
    }
    let address = text
        .parse()
        .map_err(|_| String::from("use an IP address and a port, such as 127.0.0.1:8080"));
    Ok(Listen(Some(address?)))
}

/// A page to serve, and its address.
#[derive(Debug)]
pub(super) struct Web {
    listen: SocketAddr,
    files: PageFiles,
    folder: Option<PathBuf>,
}

impl WebArgs {
    /// Reads and checks the page, if it is requested.
    pub(super) fn load(&self) -> Result<Option<Web>, Failure> {
        let root = self.root.as_ref().filter(|path| !path.as_os_str().is_empty());
        let Some(listen) = self.listen() else {
            return match root {
                Some(_) => Err(Failure::new(
                    "--web.root needs an address to serve it on: give --web.listen",
                )),
                None => Ok(None),
            };
        };
        self.load_for(listen).map(Some).map_err(Failure::from)
    }

    /// Returns the requested address.
    pub(super) fn listen(&self) -> Option<SocketAddr> {
        self.listen.and_then(|Listen(address)| address)
    }

    /// Returns the page of the folder or the binary for this address.
    pub(super) fn load_for(&self, listen: SocketAddr) -> Result<Web, PageError> {
        let root = self.root.as_ref().filter(|path| !path.as_os_str().is_empty());
        let files = root.map_or_else(PageFiles::embedded, |path| PageFiles::folder(path))?;
        Ok(Web { listen, files, folder: root.cloned() })
    }
}

impl Web {
    /// Serves the page. `refresh` brings its configuration up to date, if it can change.
    pub(super) async fn start(
        self,
        start: PageStart,
        refresh: Option<Refresh>,
    ) -> Result<Page, PageError> {
        let Self { listen, files, folder } = self;
        Page::start(PageConfig { listen, files, folder, start, refresh }).await
    }
}
