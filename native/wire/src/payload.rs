//! `payload_by_number` over libp2p: one stream for each request.
//!
//! The bytes and the limits are the core's ([`opp2p_core::sync`]). This module adds the streams.
//!
//! # Bounds
//! * Streams of one connection: [`MAX_STREAMS`]. Further ones are dropped.
//! * A request: 8 bytes. Bytes after them are neither read nor waited for, as in the reference. If
//!   fewer arrive, or none in time, the stream is reset.
//! * An answer: as many bytes as the request allows, in [`STREAM_DEADLINE`]. A slower peer is cut
//!   off.
//!
//! # Peers that serve nothing
//! Some clients answer every request with the code of a missing block, at once and without reading
//! the request, and then reset the stream. A request that can't be written is therefore not a
//! failure as long as an answer can be read, and an answer ends with its code unless the code is
//! that of success.

use futures::prelude::*;
use futures_timer::Delay;
use libp2p::StreamProtocol;
use libp2p::request_response::{self, OutboundFailure, ProtocolSupport};
use opp2p_core::sync::{
    InvalidRequest, MAX_STREAMS, REQUEST_SIZE, RequestFailure, ResultCode, STREAM_DEADLINE,
    STREAM_LIFE, decode_request, encode_request, protocol_id, spec_protocol_id,
};
use std::io;
use std::task::Poll;

/// The behaviour that sends and serves requests.
pub type Payloads = request_response::Behaviour<PayloadCodec>;

/// Creates the behaviour for a chain. It dials the protocol by the reference's name and also serves
/// it by the name in the specification.
pub(super) fn payloads(chain_id: u64) -> Payloads {
    let names = [
        (protocol_id(chain_id), ProtocolSupport::Full),
        (spec_protocol_id(chain_id), ProtocolSupport::Inbound),
    ];
    let names = names.into_iter().filter_map(|(name, support)| {
        // The name begins with a slash, which is all that the library requires.
        StreamProtocol::try_from_owned(name).ok().map(|name| (name, support))
    });
    let config = request_response::Config::default()
        .with_request_timeout(STREAM_LIFE)
        .with_max_concurrent_streams(MAX_STREAMS);
    Payloads::with_codec(PayloadCodec { limit: 0, unsent: None }, names, config)
}

/// A request of ours, with the limit on its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PayloadRequest {
    /// Number of the block.
    pub number: u64,
    /// Maximum size of the answer, in bytes.
    pub limit: usize,
}

/// Reads and writes streams. Each stream has its own clone.
#[derive(Clone, Copy, Debug)]
pub struct PayloadCodec {
    /// Maximum size of the answer on this stream, in bytes.
    limit: usize,
    /// Error of writing the request, if it could not be written.
    unsent: Option<io::ErrorKind>,
}

/// The answer has more bytes than the request allows.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the answer is longer than {0} bytes")]
struct TooLong(usize);

impl request_response::Codec for PayloadCodec {
    type Protocol = StreamProtocol;
    type Request = PayloadRequest;
    type Response = Vec<u8>;

    async fn read_request<T>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
    ) -> io::Result<PayloadRequest>
    where
        T: AsyncRead + Unpin + Send,
    {
        let bytes = in_time(read_up_to(io, REQUEST_SIZE)).await?;
        let number = decode_request(&bytes).map_err(|error: InvalidRequest| invalid(error))?;
        Ok(PayloadRequest { number, limit: 0 })
    }

    async fn read_response<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<Vec<u8>>
    where
        T: AsyncRead + Unpin + Send,
    {
        let bytes = in_time(read_answer(io, self.limit)).await?;
        match self.unsent {
            Some(kind) if bytes.is_empty() => Err(kind.into()),
            _ if bytes.len() > self.limit => Err(invalid(TooLong(self.limit))),
            _ => Ok(bytes),
        }
    }

    async fn write_request<T>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
        request: PayloadRequest,
    ) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        self.limit = request.limit;
        match in_time(io.write_all(&encode_request(request.number))).await {
            // The peer reads no more. What it wrote before can still be read.
            Err(error) if error.kind() != io::ErrorKind::TimedOut => {
                self.unsent = Some(error.kind());
                Ok(())
            }
            result => result,
        }
    }

    async fn write_response<T>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
        response: Vec<u8>,
    ) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        in_time(async {
            io.write_all(&response).await?;
            io.flush().await
        })
        .await
    }
}

/// Converts the failure of a request of ours to the core's terms.
pub(super) fn request_failure(error: &OutboundFailure) -> RequestFailure {
    match error {
        OutboundFailure::Timeout => RequestFailure::Timeout,
        OutboundFailure::UnsupportedProtocols => RequestFailure::Unsupported,
        OutboundFailure::Io(error) if error.kind() == io::ErrorKind::TimedOut => {
            RequestFailure::Timeout
        }
        OutboundFailure::Io(error)
            if error
                .get_ref()
                .is_some_and(<dyn std::error::Error + Send + Sync>::is::<TooLong>) =>
        {
            RequestFailure::TooLong
        }
        OutboundFailure::Io(_)
        | OutboundFailure::DialFailure
        | OutboundFailure::ConnectionClosed => RequestFailure::Closed,
    }
}

/// Reads an answer: only its code if it is not that of success, else up to one byte more than
/// `limit`.
async fn read_answer<T: AsyncRead + Unpin>(io: &mut T, limit: usize) -> io::Result<Vec<u8>> {
    let mut bytes = read_up_to(io, 1).await?;
    if bytes.first() == Some(&ResultCode::Success.byte()) {
        io.take(limit as u64).read_to_end(&mut bytes).await?;
    }
    Ok(bytes)
}

/// Reads to the end of the stream, or until there are `most` bytes.
async fn read_up_to<T: AsyncRead + Unpin>(io: &mut T, most: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    io.take(most as u64).read_to_end(&mut bytes).await?;
    Ok(bytes)
}

async fn in_time<T>(work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    futures::pin_mut!(work);
    // The work is often done at once, and a timer costs more than the work.
    if let Poll::Ready(result) = futures::poll!(&mut work) {
        return result;
    }
    match future::select(work, Delay::new(STREAM_DEADLINE)).await {
        future::Either::Left((result, _)) => result,
        future::Either::Right(((), _)) => Err(io::ErrorKind::TimedOut.into()),
    }
}

fn invalid(error: impl std::error::Error + Send + Sync + 'static) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}
