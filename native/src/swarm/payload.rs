//! `payload_by_number` over libp2p: one stream for each request.
//!
//! The bytes are the core's ([`opp2p_core::sync`]); here they meet streams and deadlines, as the reference has them
//! (`op-node/p2p/sync.go`): 10 s to send a request, 10 s for the whole answer, on either side.
//!
//! # Bounds
//! * Streams of one connection: [`MAX_STREAMS`], whoever opened them. One more is dropped.
//! * A request: 8 bytes. What follows them is not read, nor waited for, as the reference does; fewer of them, or none
//!   in time, and the stream is cut off.
//! * An answer: as many bytes as the request allows, in 10 s. A peer that reads slower than that is cut off.

use futures::prelude::*;
use futures_timer::Delay;
use libp2p::StreamProtocol;
use libp2p::request_response::{self, OutboundFailure, ProtocolSupport};
use opp2p_core::sync::{
    InvalidRequest, REQUEST_SIZE, RequestFailure, decode_request, encode_request, protocol_id,
    spec_protocol_id,
};
use std::io;
use std::task::Poll;
use std::time::Duration;

/// Time for a request to be written, for one to be read, and for an answer to pass, each.
pub const STREAM_DEADLINE: Duration = Duration::from_secs(10);
/// Streams of the protocol on one connection.
pub const MAX_STREAMS: usize = 192;
/// No stream lives longer, whatever it waits for: the core's longest wait and all deadlines.
const STREAM_LIFE: Duration = Duration::from_secs(50);

/// The behaviour that serves and asks.
pub type Payloads = request_response::Behaviour<PayloadCodec>;

/// The behaviour for a chain. It dials the protocol as the reference names it, and also serves it under the name
/// that the specification gives it.
pub fn payloads(chain_id: u64) -> Payloads {
    let names = [
        (protocol_id(chain_id), ProtocolSupport::Full),
        (spec_protocol_id(chain_id), ProtocolSupport::Inbound),
    ];
    let names = names.into_iter().filter_map(|(name, support)| {
        // It begins with a slash, which is all that the library asks of a name.
        StreamProtocol::try_from_owned(name).ok().map(|name| (name, support))
    });
    let config = request_response::Config::default()
        .with_request_timeout(STREAM_LIFE)
        .with_max_concurrent_streams(MAX_STREAMS);
    Payloads::with_codec(PayloadCodec { limit: 0 }, names, config)
}

/// A request of ours, and how much its answer may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PayloadRequest {
    /// The block's number.
    pub number: u64,
    /// Bytes of the answer.
    pub limit: usize,
}

/// Reads and writes streams. A clone serves one stream.
#[derive(Clone, Copy, Debug)]
pub struct PayloadCodec {
    /// What the request on this stream allows.
    limit: usize,
}

/// The answer has more bytes than the request allows.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the answer is longer than {0} bytes")]
struct TooLong(usize);

impl request_response::Codec for PayloadCodec {
    type Protocol = StreamProtocol;
    type Request = PayloadRequest;
    type Response = Vec<u8>;

    async fn read_request<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<PayloadRequest>
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
        let bytes = in_time(read_up_to(io, self.limit.saturating_add(1))).await?;
        if bytes.len() > self.limit { Err(invalid(TooLong(self.limit))) } else { Ok(bytes) }
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
        in_time(io.write_all(&encode_request(request.number))).await
    }

    async fn write_response<T>(&mut self, _: &StreamProtocol, io: &mut T, response: Vec<u8>) -> io::Result<()>
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

/// Why a request of ours failed, in the core's terms.
pub fn request_failure(error: &OutboundFailure) -> RequestFailure {
    match error {
        OutboundFailure::Timeout => RequestFailure::Timeout,
        OutboundFailure::UnsupportedProtocols => RequestFailure::Unsupported,
        OutboundFailure::Io(error) if error.kind() == io::ErrorKind::TimedOut => RequestFailure::Timeout,
        OutboundFailure::Io(error)
            if error.get_ref().is_some_and(<dyn std::error::Error + Send + Sync>::is::<TooLong>) =>
        {
            RequestFailure::TooLong
        }
        OutboundFailure::Io(_) | OutboundFailure::DialFailure | OutboundFailure::ConnectionClosed => {
            RequestFailure::Closed
        }
    }
}

/// Reads to the end of the stream, or until there are `most` bytes.
async fn read_up_to<T: AsyncRead + Unpin>(io: &mut T, most: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    io.take(most as u64).read_to_end(&mut bytes).await?;
    Ok(bytes)
}

async fn in_time<T>(work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    futures::pin_mut!(work);
    // Often it is done at once, and a timer costs more than the work.
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
