//! A client's address as Kafka writes it into groups: a slash and the number (`/127.0.0.1`).
//!
//! It is what Java prints for an address without a name, and tools show it. Java shortens no zeros of IPv6.

use std::net::IpAddr;
use std::sync::Arc;

use crate::server::RequestContext;

pub fn of(cx: &RequestContext) -> Arc<str> {
    written(cx.peer.address.ip()).into()
}

fn written(address: IpAddr) -> String {
    match address.to_canonical() {
        IpAddr::V4(address) => format!("/{address}"),
        IpAddr::V6(address) => {
            let parts: Vec<_> = address.segments().iter().map(|part| format!("{part:x}")).collect();
            format!("/{}", parts.join(":"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_written_as_java_writes_them() {
        for (address, expected) in [
            ("127.0.0.1", "/127.0.0.1"),
            ("::ffff:10.0.0.7", "/10.0.0.7"),
            ("::1", "/0:0:0:0:0:0:0:1"),
            ("2001:db8::abcd:0:1", "/2001:db8:0:0:0:abcd:0:1"),
        ] {
            assert_eq!(written(address.parse().expect("an address")), expected);
        }
    }
}
