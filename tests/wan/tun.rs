//! TUN devices: what the system sends into one can be read here, and what is written here arrives
//! in the system.
#![allow(unsafe_code, reason = "the kernel's call that makes a device has no safe form")]

use rustix::fd::OwnedFd;
use rustix::fs::{Mode, OFlags, open};
use rustix::ioctl::{Opcode, Setter, ioctl, opcode};
use std::io;

/// The kernel's `struct ifreq`. This call reads its name and its flags.
#[repr(C)]
struct Request {
    name: [u8; 16],
    flags: u16,
    rest: [u8; 22],
}

const TUNSETIFF: Opcode = opcode::write::<i32>(b'T', 202);
/// Packets of IP, without a header of the device.
const TUN_WITHOUT_HEADER: u16 = 0x0001 | 0x1000;

/// Creates a device in the network namespace of this process. It exists until the result is
/// dropped. Reads and writes do not block.
pub(crate) fn create(name: &str) -> io::Result<OwnedFd> {
    let mut request = Request { name: [0; 16], flags: TUN_WITHOUT_HEADER, rest: [0; 22] };
    if name.len() >= request.name.len() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "the name is too long"));
    }
    request.name[..name.len()].copy_from_slice(name.as_bytes());
    let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let device = open("/dev/net/tun", flags, Mode::empty())?;
    // SAFETY: the kernel reads 40 bytes for this code, which is the size of `Request` and of
    // `struct ifreq`, and keeps no pointer to them.
    unsafe { ioctl(&device, Setter::<TUNSETIFF, Request>::new(request)) }?;
    Ok(device)
}
