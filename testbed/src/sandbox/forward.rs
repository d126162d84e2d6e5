//! TCP from one network namespace to another.
//!
//! A socket stays in the namespace that it was opened in. So the listener is opened in one, and each connection to the other
//! side in the other, by one process. No address of the host changes, and nothing is polled.

use std::{io, net::TcpListener, thread};

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener as AsyncListener, TcpStream},
    runtime::Builder,
    task::spawn,
};

use super::{
    network_namespace::enter,
    settings::{Endpoint, Forward},
};

/// Forwards until it is killed.
pub(super) fn run(forward: &Forward) -> io::Result<()> {
    let listener = listen(forward.listen.clone())?;
    if let Some(namespace) = &forward.connect.namespace {
        enter(namespace)?;
    }
    let address = forward.connect.address;
    // On this thread alone: others would be in the namespace that the process began in.
    let runtime = Builder::new_current_thread().enable_io().build()?;
    runtime.block_on(async {
        let listener = AsyncListener::from_std(listener)?;
        loop {
            let (mut client, _) = listener.accept().await?;
            spawn(async move {
                // Who is not there refuses, and the client sees its connection end.
                if let Ok(mut server) = TcpStream::connect(address).await {
                    let _ = client.set_nodelay(true).and_then(|()| server.set_nodelay(true));
                    let _ = copy_bidirectional(&mut client, &mut server).await;
                }
            });
        }
    })
}

/// Listens from a thread of its own, which alone enters the namespace.
fn listen(endpoint: Endpoint) -> io::Result<TcpListener> {
    let open = move || {
        if let Some(namespace) = &endpoint.namespace {
            enter(namespace)?;
        }
        let listener = TcpListener::bind(endpoint.address)
            .map_err(|error| io::Error::new(error.kind(), format!("cannot listen on {}: {error}", endpoint.address)))?;
        listener.set_nonblocking(true)?;
        Ok(listener)
    };
    thread::spawn(open)
        .join()
        .unwrap_or_else(|_| Err(io::Error::other("the thread that listens panicked")))
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read, Write},
        net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream},
    };

    use super::*;

    #[test]
    fn bytes_pass_both_ways_and_ends_are_passed_on() {
        let server = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        // A port that another program took in this moment would make the test fail, so it is asked for until it is free.
        let (address, to) = (free(), server.local_addr().unwrap());
        let host = |address| Endpoint {
            namespace: None,
            address,
        };
        let forward = Forward {
            listen: host(address),
            connect: host(to),
        };
        thread::spawn(move || run(&forward));
        let mut client = connect(address);
        client.write_all(b"to the server").unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        let (mut other, _) = server.accept().unwrap();
        let mut heard = String::new();
        other.read_to_string(&mut heard).unwrap();
        other.write_all(b"to the client").unwrap();
        drop(other);
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        assert_eq!((heard.as_str(), answer.as_str()), ("to the server", "to the client"));
    }

    fn free() -> SocketAddr {
        TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .unwrap()
            .local_addr()
            .unwrap()
    }

    fn connect(address: SocketAddr) -> TcpStream {
        loop {
            match TcpStream::connect(address) {
                Ok(stream) => return stream,
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => thread::yield_now(),
                Err(error) => panic!("{error}"),
            }
        }
    }
}
