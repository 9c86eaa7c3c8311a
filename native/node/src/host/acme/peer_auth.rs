//! Client side of libp2p's "Peer ID Authentication over HTTP" (`libp2p-PeerID`), without I/O.
//!
//! The server answers the first request with a challenge. The second request contains the signature
//! of it. The server's signature is not verified: its peer key is ephemeral, and TLS has
//! authenticated the server by name.

use base64::prelude::{BASE64_URL_SAFE, Engine};
use libp2p::identity::Keypair;

/// Name of the authentication scheme.
const SCHEME: &str = "libp2p-PeerID";
/// Length of the client's challenge before encoding, in bytes.
pub(super) const CHALLENGE_BYTES: usize = 32;
/// Minimum length of the server's challenge, in characters. A shorter one makes replays possible.
const SHORTEST_CHALLENGE: usize = 32;

/// A server's challenge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Challenge {
    challenge: String,
    /// The server's public key, in protobuf encoding.
    server: Vec<u8>,
    /// Server state, returned unchanged.
    opaque: String,
}

impl Challenge {
    /// Parses a `WWW-Authenticate` header. Returns `None` if it has no valid challenge of this
    /// scheme.
    pub(super) fn read(header: &str) -> Option<Self> {
        let (_, parameters) = header.split_once(SCHEME)?;
        let (mut challenge, mut server, mut opaque) = (None, None, None);
        for parameter in parameters.split([' ', ',']).filter(|part| !part.is_empty()) {
            // The next scheme begins.
            let Some((name, value)) = parameter.split_once('=') else { break };
            let value = value.strip_prefix('"')?.strip_suffix('"')?;
            match name {
                "challenge-client" => challenge = Some(value.to_owned()),
                "public-key" => server = BASE64_URL_SAFE.decode(value).ok(),
                "opaque" => opaque = Some(value.to_owned()),
                _ => {}
            }
        }
        let challenge = challenge.filter(|text| text.len() >= SHORTEST_CHALLENGE)?;
        Some(Self { challenge, server: server?, opaque: opaque? })
    }

    /// Returns the value of the `Authorization` header, or `None` if the key can't sign.
    ///
    /// `host` is the value of the request's `Host` header. `own` is the random challenge to the
    /// server that the scheme requires.
    pub(super) fn answer(
        &self,
        key: &Keypair,
        host: &str,
        own: &[u8; CHALLENGE_BYTES],
    ) -> Option<String> {
        let signature = key.sign(&self.signed(host)).ok()?;
        let encoded = |bytes: &[u8]| BASE64_URL_SAFE.encode(bytes);
        Some(format!(
            r#"{SCHEME} public-key="{}", challenge-server="{}", opaque="{}", sig="{}""#,
            encoded(&key.public().encode_protobuf()),
            encoded(own),
            self.opaque,
            encoded(&signature)
        ))
    }

    /// Returns the bytes to sign: the scheme, then the length-prefixed parameters, sorted by name.
    fn signed(&self, host: &str) -> Vec<u8> {
        let mut bytes = SCHEME.as_bytes().to_vec();
        let parts: [(&str, &[u8]); 3] = [
            ("challenge-client", self.challenge.as_bytes()),
            ("hostname", host.as_bytes()),
            ("server-public-key", &self.server),
        ];
        for (name, value) in parts {
            varint(&mut bytes, name.len() + 1 + value.len());
            bytes.extend(name.as_bytes());
            bytes.push(b'=');
            bytes.extend(value);
        }
        bytes
    }
}

/// Appends an unsigned LEB128 varint.
fn varint(bytes: &mut Vec<u8>, mut number: usize) {
    while number >= 0x80 {
        bytes.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = "libp2p-PeerID \
        challenge-client=\"ERERERERERERERERERERERERERERERERERERERERERE=\", \
        public-key=\"CAESIGyjWXJKoOmWaXvOWzs8A_S9P5jrW8iTXWLjxgQTfGRm\", opaque=\"b3BhcXVl\"";

    #[test]
    fn a_challenge_is_read_among_other_schemes() {
        let challenge = Challenge::read(HEADER).expect("a challenge");
        assert_eq!(challenge.server.len(), 36);
        assert_eq!(
            Challenge::read(&format!("Basic realm=\"x\", {HEADER}")),
            Some(challenge.clone())
        );
        assert_eq!(Challenge::read(&format!("{HEADER}, Basic realm=\"x\"")), Some(challenge));
    }

    #[test]
    fn a_wrong_challenge_is_none() {
        for header in [
            "",
            "libp2p-PeerID",
            "Basic realm=\"x\"",
            &HEADER.replace("challenge-client", "other"),
            &HEADER.replace("ERERERERERERERERERERERERERERERERERERERERERE=", "ERER"),
            &HEADER.replace("\"CAESIG", "\"?"),
            &HEADER.replace(", opaque=\"b3BhcXVl\"", ""),
            &HEADER.replace("\"b3BhcXVl\"", "b3BhcXVl"),
        ] {
            assert_eq!(Challenge::read(header), None, "{header}");
        }
    }

    #[test]
    fn the_answer_signs_the_challenge_for_one_host_and_server() {
        let key = Keypair::generate_secp256k1();
        let challenge = Challenge::read(HEADER).expect("a challenge");
        let answer = challenge.answer(&key, "broker.example", &[7; 32]).expect("signed");
        let value = |name: &str| {
            let (_, rest) = answer.split_once(&format!("{name}=\"")).expect("the parameter");
            rest.split_once('"').expect("its end").0.to_owned()
        };
        assert_eq!(value("opaque"), "b3BhcXVl");
        assert_eq!(
            BASE64_URL_SAFE.decode(value("public-key")).expect("base64"),
            key.public().encode_protobuf()
        );
        let signature = BASE64_URL_SAFE.decode(value("sig")).expect("base64");
        let mut signed = b"libp2p-PeerID".to_vec();
        signed.push(61);
        signed.extend(b"challenge-client=ERERERERERERERERERERERERERERERERERERERERERE=");
        signed.push(23);
        signed.extend(b"hostname=broker.example");
        signed.push(54);
        signed.extend(b"server-public-key=");
        signed.extend(&challenge.server);
        assert_eq!(challenge.signed("broker.example"), signed);
        assert!(key.public().verify(&signed, &signature));
        assert!(!key.public().verify(&challenge.signed("other.example"), &signature));
    }

    #[test]
    fn long_values_have_longer_lengths() {
        let mut bytes = Vec::new();
        varint(&mut bytes, 127);
        varint(&mut bytes, 300);
        assert_eq!(bytes, [0x7f, 0xac, 0x02]);
    }
}
