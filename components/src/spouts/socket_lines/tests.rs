use galerna_topology_api::Next;
use galerna_worker::testing::SpoutHarness;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};

use super::SocketLines;
use crate::harness::{refusal, spout, spout_task, texts};

async fn send(test: &SpoutHarness, bytes: &[u8]) {
    let port = test.context().gauge("port").value() as u16;
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    stream.shutdown().await.unwrap();
}

#[tokio::test]
async fn lines_of_several_connections_arrive() {
    let mut test = spout::<SocketLines>("{port: 0}").await;
    send(&test, b"one\r\ntwo").await;
    test.run_until(2).await.unwrap();
    send(&test, b"three\n").await;
    test.run_until(3).await.unwrap();
    assert_eq!(texts(&test), ["one", "two", "three"]);
    assert_eq!(test.next().await.unwrap().outcome(), (Next::Idle, 0));
}

#[tokio::test]
async fn until_closed_ends_with_the_last_connection() {
    let mut test = spout::<SocketLines>("{listen: '127.0.0.1:0', until: closed}").await;
    send(&test, b"one\n").await;
    test.exhaust().await.unwrap();
    assert_eq!(texts(&test), ["one"]);
}

#[tokio::test(start_paused = true)]
async fn a_failed_line_comes_again() {
    let mut test = spout::<SocketLines>("{port: 0, until: closed}").await;
    send(&test, b"one\n").await;
    test.exhaust().await.unwrap();
    test.fail(0).await;
    assert_eq!(test.next().await.unwrap().outcome(), (Next::Idle, 0));
    test.exhaust().await.unwrap();
    assert_eq!(texts(&test), ["one", "one"]);
}

#[tokio::test]
async fn lines_that_are_no_text_are_counted_the_first_is_listed_and_the_others_arrive() {
    let mut test = spout::<SocketLines>("{port: 0, max_line: 8, until: closed}").await;
    send(&test, b"one\n\xff\nvery very long\ntwo\n").await;
    test.exhaust().await.unwrap();
    assert_eq!(texts(&test), ["one", "two"]);
    let errors = test.reported();
    assert!(errors[0].starts_with("byte 4 of 127.0.0.1:"), "{errors:?}");
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert_eq!(test.context().counter("lines_refused").value(), 2);
}

#[tokio::test]
async fn fail_ends_the_run_at_a_line_that_is_no_text() {
    let mut test = spout::<SocketLines>("{port: 0, until: closed, on_bad_line: fail}").await;
    send(&test, b"one\n\xff\n").await;
    let error = test.exhaust().await.unwrap_err();
    assert!(error.is_fatal());
    assert!(error.to_string().starts_with("byte 4 of 127.0.0.1:"), "{error}");
    assert_eq!(texts(&test), ["one"]);
}

#[tokio::test(start_paused = true)]
async fn connecting_is_tried_until_it_works_and_again_when_it_is_lost() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let mut test = spout::<SocketLines>(&format!("{{connect: '{address}'}}")).await;
    while test.reported().is_empty() {
        tokio::task::yield_now().await;
    }
    assert!(test.reported()[0].starts_with(&format!("cannot connect to {address}: ")));
    let listener = TcpListener::bind(address).await.unwrap();
    for count in 1..=2 {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(b"hello\n").await.unwrap();
        drop(stream);
        test.run_until(count).await.unwrap();
    }
}

/// A port of this machine that was free a moment ago.
async fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port()
}

#[tokio::test(start_paused = true)]
async fn a_port_where_somebody_listens_is_connected_to_once_and_again_when_that_is_closed() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut test = spout::<SocketLines>(&format!("{{port: {port}}}")).await;
    for count in 1..=2 {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(b"hello\n").await.unwrap();
        drop(stream);
        test.run_until(count).await.unwrap();
    }
    assert!(test.reported().is_empty(), "{:?}", test.reported());
}

#[tokio::test]
async fn a_port_where_nobody_listens_is_listened_on() {
    let port = free_port().await;
    let mut test = spout::<SocketLines>(&format!("{{port: {port}}}")).await;
    assert_eq!(test.context().gauge("port").value() as u16, port);
    send(&test, b"one\n").await;
    test.run_until(1).await.unwrap();
    assert_eq!(texts(&test), ["one"]);
}

#[tokio::test]
async fn an_address_that_is_taken_is_a_fatal_error_that_names_it() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let properties = format!("{{listen: '{address}'}}");
    let error = spout_task::<SocketLines>(&properties, 0, 1).await.err().unwrap();
    assert!(error.is_fatal());
    assert!(error.to_string().starts_with(&format!("cannot listen on {address}: ")), "{error}");
}

#[test]
fn exactly_one_endpoint_is_accepted() {
    for properties in ["{}", "{port: 1, listen: 'a:1'}", "{connect: 'a:1', listen: 'a:1'}"] {
        assert!(refusal::<SocketLines>(properties).contains("takes exactly one of"), "{properties}");
    }
}
