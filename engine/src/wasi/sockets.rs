// SPDX-License-Identifier: Apache-2.0
//! wasi:sockets: links, so that programs of every toolchain start, and refuses. No socket, resolver or datagram stream ever exists:
//! their type has no values, so that what a socket would do cannot be written here by mistake.

use super::bindings::wasi::sockets::*;
use crate::calls;
use crate::host::Host;
use crate::shared::Ended;
use network::{ErrorCode, IpAddress, IpAddressFamily, IpSocketAddress};
use wasmtime::component::{Resource, ResourceTableError};
use wasmtime::{Error, Result};
use wasmtime_wasi_io::poll::DynPollable;
use wasmtime_wasi_io::streams::{DynInputStream, DynOutputStream};

pub enum SocketError {
    Code(ErrorCode),
    Trap(Error),
}

pub type SocketResult<T> = std::result::Result<T, SocketError>;

impl From<Ended> for SocketError {
    fn from(ended: Ended) -> SocketError {
        SocketError::Trap(ended.into())
    }
}

impl From<ResourceTableError> for SocketError {
    fn from(error: ResourceTableError) -> SocketError {
        SocketError::Trap(error.into())
    }
}

/// The network that `instance-network` hands out: nothing can be reached through it.
pub struct Network;

/// A socket, resolver or datagram stream.
pub enum Never {}

impl network::Host for Host {
    fn convert_error_code(&mut self, error: SocketError) -> Result<ErrorCode> {
        match error {
            SocketError::Code(code) => Ok(code),
            SocketError::Trap(error) => Err(error),
        }
    }

    fn network_error_code(&mut self, _: Resource<Error>) -> Result<Option<ErrorCode>> {
        Ok(None) // unstable, not linked
    }
}

impl network::HostNetwork for Host {
    fn drop(&mut self, network: Resource<Network>) -> Result<()> {
        self.table.delete(network)?;
        Ok(())
    }
}

impl instance_network::Host for Host {
    fn instance_network(&mut self) -> Result<Resource<Network>> {
        self.enter(calls::SOCKETS_INSTANCE_NETWORK_INSTANCE_NETWORK)?;
        Ok(self.table.push(Network)?)
    }
}

impl ip_name_lookup::Host for Host {
    fn resolve_addresses(&mut self, _: Resource<Network>, _: String) -> SocketResult<Resource<Never>> {
        self.enter(calls::SOCKETS_IP_NAME_LOOKUP_RESOLVE_ADDRESSES)?;
        Err(SocketError::Code(ErrorCode::AccessDenied))
    }
}

impl tcp_create_socket::Host for Host {
    fn create_tcp_socket(&mut self, _: IpAddressFamily) -> SocketResult<Resource<Never>> {
        self.enter(calls::SOCKETS_TCP_CREATE_SOCKET_CREATE_TCP_SOCKET)?;
        Err(SocketError::Code(ErrorCode::AccessDenied))
    }
}

impl udp_create_socket::Host for Host {
    fn create_udp_socket(&mut self, _: IpAddressFamily) -> SocketResult<Resource<Never>> {
        self.enter(calls::SOCKETS_UDP_CREATE_SOCKET_CREATE_UDP_SOCKET)?;
        Err(SocketError::Code(ErrorCode::AccessDenied))
    }
}

impl tcp::Host for Host {}
impl udp::Host for Host {}

/// Functions of resources without values: looking the resource up is all that can happen.
macro_rules! never {
    ($trait:path { $($name:ident($($arg:ty),*) -> $ret:ty;)* }) => {
        impl $trait for Host {
            $(fn $name(&mut self, this: Resource<Never>, $(_: $arg),*) -> $ret {
                match *self.table.get(&this)? {}
            })*

            fn drop(&mut self, this: Resource<Never>) -> Result<()> {
                match self.table.delete(this)? {}
            }
        }
    };
}

never!(ip_name_lookup::HostResolveAddressStream {
    resolve_next_address() -> SocketResult<Option<IpAddress>>;
    subscribe() -> Result<Resource<DynPollable>>;
});

never!(tcp::HostTcpSocket {
    start_bind(Resource<Network>, IpSocketAddress) -> SocketResult<()>;
    finish_bind() -> SocketResult<()>;
    start_connect(Resource<Network>, IpSocketAddress) -> SocketResult<()>;
    finish_connect() -> SocketResult<(Resource<DynInputStream>, Resource<DynOutputStream>)>;
    start_listen() -> SocketResult<()>;
    finish_listen() -> SocketResult<()>;
    accept() -> SocketResult<(Resource<Never>, Resource<DynInputStream>, Resource<DynOutputStream>)>;
    local_address() -> SocketResult<IpSocketAddress>;
    remote_address() -> SocketResult<IpSocketAddress>;
    is_listening() -> Result<bool>;
    address_family() -> Result<IpAddressFamily>;
    set_listen_backlog_size(u64) -> SocketResult<()>;
    keep_alive_enabled() -> SocketResult<bool>;
    set_keep_alive_enabled(bool) -> SocketResult<()>;
    keep_alive_idle_time() -> SocketResult<u64>;
    set_keep_alive_idle_time(u64) -> SocketResult<()>;
    keep_alive_interval() -> SocketResult<u64>;
    set_keep_alive_interval(u64) -> SocketResult<()>;
    keep_alive_count() -> SocketResult<u32>;
    set_keep_alive_count(u32) -> SocketResult<()>;
    hop_limit() -> SocketResult<u8>;
    set_hop_limit(u8) -> SocketResult<()>;
    receive_buffer_size() -> SocketResult<u64>;
    set_receive_buffer_size(u64) -> SocketResult<()>;
    send_buffer_size() -> SocketResult<u64>;
    set_send_buffer_size(u64) -> SocketResult<()>;
    subscribe() -> Result<Resource<DynPollable>>;
    shutdown(tcp::ShutdownType) -> SocketResult<()>;
});

never!(udp::HostUdpSocket {
    start_bind(Resource<Network>, IpSocketAddress) -> SocketResult<()>;
    finish_bind() -> SocketResult<()>;
    stream(Option<IpSocketAddress>) -> SocketResult<(Resource<Never>, Resource<Never>)>;
    local_address() -> SocketResult<IpSocketAddress>;
    remote_address() -> SocketResult<IpSocketAddress>;
    address_family() -> Result<IpAddressFamily>;
    unicast_hop_limit() -> SocketResult<u8>;
    set_unicast_hop_limit(u8) -> SocketResult<()>;
    receive_buffer_size() -> SocketResult<u64>;
    set_receive_buffer_size(u64) -> SocketResult<()>;
    send_buffer_size() -> SocketResult<u64>;
    set_send_buffer_size(u64) -> SocketResult<()>;
    subscribe() -> Result<Resource<DynPollable>>;
});

never!(udp::HostIncomingDatagramStream {
    receive(u64) -> SocketResult<Vec<udp::IncomingDatagram>>;
    subscribe() -> Result<Resource<DynPollable>>;
});

never!(udp::HostOutgoingDatagramStream {
    check_send() -> SocketResult<u64>;
    send(Vec<udp::OutgoingDatagram>) -> SocketResult<u64>;
    subscribe() -> Result<Resource<DynPollable>>;
});
