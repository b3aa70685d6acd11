//! Socket addresses as the kernel writes them.

use std::mem;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

/// An IPv4 or IPv6 address in the kernel's form; the first field of either variant is the family.
#[derive(Clone, Copy)]
#[repr(C)]
pub(super) union Name {
    v4: libc::sockaddr_in,
    v6: libc::sockaddr_in6,
}

impl Name {
    /// Bytes of the longer form.
    pub(super) const LENGTH: libc::socklen_t = 28;

    /// The address of nobody.
    pub(super) fn none() -> Self {
        // SAFETY: both forms are C structures of numbers, for which zeros are valid.
        unsafe { mem::zeroed() }
    }

    /// Writes an address, and says how many bytes of it count.
    pub(super) fn of(address: SocketAddr) -> (Self, libc::socklen_t) {
        let mut name = Self::none();
        match address {
            SocketAddr::V4(address) => {
                name.v4 = libc::sockaddr_in {
                    sin_family: IPV4,
                    sin_port: address.port().to_be(),
                    sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes(address.ip().octets()) },
                    sin_zero: [0; 8],
                };
                (name, LENGTH_V4)
            }
            SocketAddr::V6(address) => {
                name.v6 = libc::sockaddr_in6 {
                    sin6_family: IPV6,
                    sin6_port: address.port().to_be(),
                    sin6_flowinfo: address.flowinfo(),
                    sin6_addr: libc::in6_addr { s6_addr: address.ip().octets() },
                    sin6_scope_id: address.scope_id(),
                };
                (name, Self::LENGTH)
            }
        }
    }

    /// Reads an address. `None`: it is of another family.
    pub(super) fn address(&self) -> Option<SocketAddr> {
        // SAFETY: every value of this type was made by `none` or `of`, or written over by the kernel: each byte is
        // initialised, and both forms are structures of numbers, for which every pattern is valid.
        let (v4, v6) = unsafe { (self.v4, self.v6) };
        match v4.sin_family {
            IPV4 => {
                let ip = Ipv4Addr::from(v4.sin_addr.s_addr.to_ne_bytes());
                Some(SocketAddrV4::new(ip, u16::from_be(v4.sin_port)).into())
            }
            IPV6 => {
                let ip = Ipv6Addr::from(v6.sin6_addr.s6_addr);
                let port = u16::from_be(v6.sin6_port);
                Some(SocketAddrV6::new(ip, port, v6.sin6_flowinfo, v6.sin6_scope_id).into())
            }
            _ => None,
        }
    }
}

/// Bytes of the shorter form.
const LENGTH_V4: libc::socklen_t = 16;
/// The families, in the type that a socket address has them in.
const IPV4: libc::sa_family_t = 2;
const IPV6: libc::sa_family_t = 10;

const _: () = {
    assert!(size_of::<libc::sockaddr_in>() == LENGTH_V4 as usize, "the size of an IPv4 address");
    assert!(size_of::<Name>() == Name::LENGTH as usize, "the size of an IPv6 address");
    assert!(IPV4 as libc::c_int == libc::AF_INET && IPV6 as libc::c_int == libc::AF_INET6, "the families");
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_as_it_was_written() {
        for text in ["192.0.2.7:5060", "[2001:db8::7]:5060"] {
            let address: SocketAddr = text.parse().expect("an address");
            assert_eq!(Name::of(address).0.address(), Some(address));
        }
        let scoped = SocketAddrV6::new(Ipv6Addr::LOCALHOST, 9, 0, 3).into();
        assert_eq!(Name::of(scoped).0.address(), Some(scoped));
        assert_eq!(Name::none().address(), None);
    }
}
