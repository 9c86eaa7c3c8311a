//! Operations on one stream: futures that return the stream if it is still usable.

use super::limits::{END_TIME, REQUEST_TIME};
use alloy_primitives::Bytes;
use futures::future::{self, Either};
use futures::prelude::*;
use futures_timer::Delay;
use opp2p_core::sync::range::{MAX_REQUEST_SIZE, Request, RequestError, StreamClose};
use std::io;
use std::pin::Pin;
use std::task::Poll;

/// Writes the request. Our side stays open: the muxer resets a stream that is dropped then, which
/// tells the server to stop, but drops a stream whose other side is closed without telling the
/// server.
pub(super) async fn ask<S: AsyncWrite + Unpin>(
    mut stream: S,
    request: impl AsRef<[u8]>,
) -> Result<S, StreamClose> {
    let written = async {
        stream.write_all(request.as_ref()).await?;
        stream.flush().await
    };
    match written.await {
        Ok(()) => Ok(stream),
        Err(error) => Err(close_of(&error)),
    }
}

/// Reads the available bytes, at least one and at most `limit`.
pub(super) async fn read_some<S: AsyncRead + Unpin>(
    mut stream: S,
    limit: usize,
) -> Result<(S, Bytes), StreamClose> {
    let mut bytes = vec![0; limit];
    let mut filled = 0;
    let read = future::poll_fn(|cx| {
        while filled < bytes.len() {
            match Pin::new(&mut stream).poll_read(cx, &mut bytes[filled..]) {
                Poll::Ready(Ok(0)) => break,
                Poll::Ready(Ok(read)) => filled += read,
                // The bytes before the error are passed on, and the error returns at the next read.
                Poll::Ready(Err(_)) if filled > 0 => break,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending if filled > 0 => break,
                Poll::Pending => return Poll::Pending,
            }
        }
        Poll::Ready(Ok(()))
    });
    match read.await {
        Ok(()) if filled == 0 => Err(StreamClose::Finished),
        Ok(()) => {
            bytes.truncate(filled);
            Ok((stream, bytes.into()))
        }
        Err(error) => Err(close_of(&error)),
    }
}

fn close_of(error: &io::Error) -> StreamClose {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => StreamClose::Finished,
        _ => StreamClose::Reset,
    }
}

/// Reads a request, and no bytes after it. `None` if it does not arrive in time.
pub(super) async fn read_request<S: AsyncRead + Unpin>(
    mut stream: S,
) -> Option<(S, Result<Request, RequestError>)> {
    let reading = async {
        let (mut bytes, mut filled) = (vec![0; MAX_REQUEST_SIZE], 0);
        loop {
            // The size once the length is there.
            let size = match Request::size(&bytes[..filled]) {
                Ok(size) => size.unwrap_or(2),
                Err(error) => return Ok(Err(error)),
            };
            if filled >= size.max(3) {
                return Ok(Request::decode(&bytes[..size]));
            }
            match stream.read(&mut bytes[filled..size]).await? {
                0 => return Ok(Err(RequestError::Truncated(filled))),
                read => filled += read,
            }
        }
    };
    let request = match in_time(reading, REQUEST_TIME).await {
        Some(Ok(request)) => request,
        // The stream broke, or the peer is too slow.
        Some(Err::<_, io::Error>(_)) | None => return None,
    };
    Some((stream, request))
}

/// Writes a chunk. `None` if the peer no longer reads.
pub(super) async fn write<S: AsyncWrite + Unpin>(mut stream: S, frame: Bytes) -> Option<S> {
    let written = async {
        stream.write_all(&frame).await?;
        stream.flush().await
    };
    written.await.ok().map(|()| stream)
}

/// Writes the end and closes the stream. A peer that does not take it in time does not receive it.
pub(super) async fn end<S: AsyncWrite + Unpin>(mut stream: S, frame: Vec<u8>) {
    let ending = async {
        stream.write_all(&frame).await?;
        stream.close().await
    };
    let _ = in_time(ending, END_TIME).await;
}

/// Returns the output of a future, or `None` if it takes too long.
async fn in_time<F: Future>(future: F, time: std::time::Duration) -> Option<F::Output> {
    futures::pin_mut!(future);
    match future::select(future, Delay::new(time)).await {
        Either::Left((output, _)) => Some(output),
        Either::Right(_) => None,
    }
}
