//! Tests with a server in this process. Each test sets its answers.

use std::future::{Future, poll_fn};
use std::os::unix::net::UnixListener;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Poll;

use http::{HeaderMap, Request, Response};
use prost::bytes::Bytes;

use super::*;

/// The server's reaction to a call.
enum Answer {
    Message(Vec<u8>),
    Status(u32),
    Silence,
}

type Handler = Arc<dyn Fn(&str, &[u8]) -> Answer + Send + Sync>;

struct Server {
    folder: tempfile::TempDir,
    calls: Arc<Mutex<Vec<String>>>,
}

impl Server {
    fn start(handler: impl Fn(&str, &[u8]) -> Answer + Send + Sync + 'static) -> Self {
        let server = Self { folder: tempfile::tempdir().unwrap(), calls: Arc::default() };
        server.listen(handler);
        server
    }

    fn listen(&self, handler: impl Fn(&str, &[u8]) -> Answer + Send + Sync + 'static) {
        let listener = UnixListener::bind(self.socket()).unwrap();
        let calls = self.calls.clone();
        let handler: Handler = Arc::new(move |path, body| {
            calls.lock().unwrap().push(path.to_owned());
            handler(path, body)
        });
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let handler = handler.clone();
                std::thread::spawn(move || serve(stream.unwrap(), handler));
            }
        });
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("cri.sock")
    }
}

fn serve(stream: std::os::unix::net::UnixStream, handler: Handler) {
    let (socket, driver) = runtime_socket::split(stream).unwrap();
    let session = async move {
        let mut connection = h2::server::handshake(socket).await.unwrap();
        let mut open: Vec<Pin<Box<dyn Future<Output = ()>>>> = Vec::new();
        poll_fn(move |context| {
            loop {
                open.retain_mut(|call| call.as_mut().poll(context).is_pending());
                match connection.poll_accept(context) {
                    Poll::Ready(Some(Ok((request, respond)))) => {
                        open.push(Box::pin(answer(request, respond, handler.clone())))
                    }
                    Poll::Ready(_) => return Poll::Ready(()),
                    Poll::Pending => return Poll::Pending,
                }
            }
        })
        .await;
    };
    driver.run(session, Instant::now() + Duration::from_secs(60));
}

async fn answer(
    request: Request<h2::RecvStream>,
    mut respond: h2::server::SendResponse<Bytes>,
    handler: Handler,
) {
    let path = request.uri().path().to_owned();
    let mut body = request.into_body();
    let mut bytes = Vec::new();
    while let Some(Ok(chunk)) = body.data().await {
        bytes.extend_from_slice(&chunk);
    }
    match handler(&path, &bytes[5..]) {
        Answer::Silence => poll_fn(|_| Poll::<()>::Pending).await,
        Answer::Status(code) => {
            let head = Response::builder()
                .header("grpc-status", code)
                .header("grpc-message", "no%21")
                .body(())
                .unwrap();
            respond.send_response(head, true).unwrap();
        }
        Answer::Message(message) => {
            let mut stream = respond.send_response(Response::new(()), false).unwrap();
            let length = u32::try_from(message.len()).unwrap().to_be_bytes();
            stream.send_data([&[0][..], &length, &message].concat().into(), false).unwrap();
            let mut trailers = HeaderMap::new();
            trailers.insert("grpc-status", "0".parse().unwrap());
            stream.send_trailers(trailers).unwrap();
        }
    }
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(20)
}

fn version(name: &str) -> Answer {
    let said = message::VersionResponse {
        runtime_name: name.to_owned(),
        runtime_version: "2.1".to_owned(),
        runtime_api_version: "v1".to_owned(),
    };
    Answer::Message(said.encode_to_vec())
}

fn status(ready: bool) -> Answer {
    let condition = |kind: &str, status| message::RuntimeCondition {
        kind: kind.to_owned(),
        status,
        reason: "Because".to_owned(),
        message: "it is so".to_owned(),
    };
    let conditions = vec![condition("RuntimeReady", ready), condition("NetworkReady", false)];
    Answer::Message(
        message::StatusResponse { status: Some(message::RuntimeStatus { conditions }), ..Default::default() }
            .encode_to_vec(),
    )
}

#[test]
fn a_runtime_of_today_is_asked_in_v1() {
    let server = Server::start(|path, _| match path {
        "/runtime.v1.RuntimeService/Version" => version("containerd"),
        "/runtime.v1.RuntimeService/Status" => status(true),
        "/runtime.v1.RuntimeService/RuntimeConfig" => Answer::Message(
            message::RuntimeConfigResponse {
                linux: Some(message::LinuxRuntimeConfiguration { cgroup_driver: 1 }),
            }
            .encode_to_vec(),
        ),
        _ => Answer::Status(12),
    });
    let (mut client, said) = Client::wait_until_ready(&server.socket(), soon(), |_| None).unwrap();
    assert_eq!(
        said,
        RuntimeVersion { name: "containerd".to_owned(), version: "2.1".to_owned(), api: Api::V1 }
    );
    assert_eq!(client.cgroup_driver(soon()), Ok(Some(CgroupDriver::Cgroupfs)));
    assert_eq!((client.serves(Api::V1, soon()), client.serves(Api::V1alpha2, soon())), (Ok(true), Ok(false)));
    let network = client.status(soon()).unwrap().network_not_ready.unwrap();
    assert_eq!(network, "Because: it is so");
}

#[test]
fn an_old_runtime_is_asked_in_v1alpha2_and_has_no_configuration() {
    let server = Server::start(|path, _| match path {
        "/runtime.v1alpha2.RuntimeService/Version" => version("containerd"),
        "/runtime.v1alpha2.RuntimeService/Status" => status(true),
        _ => Answer::Status(12),
    });
    let (mut client, said) = Client::wait_until_ready(&server.socket(), soon(), |_| None).unwrap();
    assert_eq!(said.api, Api::V1alpha2);
    assert_eq!(client.cgroup_driver(soon()), Ok(None));
}

#[test]
fn pods_are_listed_stopped_and_removed() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let record = seen.clone();
    let server = Server::start(move |path, body| match path.rsplit('/').next().unwrap() {
        "Version" => version("x"),
        "ListPodSandbox" => {
            let metadata =
                Some(message::PodSandboxMetadata { name: "web".to_owned(), namespace: "default".to_owned() });
            let item = message::PodSandbox { id: "abc".to_owned(), metadata };
            // Longer than the initial windows of flow control.
            Answer::Message(message::ListPodSandboxResponse { items: vec![item; 50_000] }.encode_to_vec())
        }
        method => {
            let id = message::PodSandboxRequest::decode(body).unwrap().pod_sandbox_id;
            record.lock().unwrap().push((method.to_owned(), id.clone()));
            match id.as_str() {
                "gone" => Answer::Status(5),
                "stuck" => Answer::Status(2),
                _ => Answer::Message(Vec::new()),
            }
        }
    });
    let (mut client, _) = Client::connect(&server.socket(), soon()).unwrap();
    let pods = client.sandboxes(soon()).unwrap();
    assert_eq!(
        (pods.len(), &pods[49_999]),
        (50_000, &Sandbox { id: "abc".to_owned(), pod: "default/web".to_owned() })
    );
    client.stop_sandbox("abc", soon()).unwrap();
    client.remove_sandbox("abc", soon()).unwrap();
    assert_eq!(client.remove_sandbox("gone", soon()), Ok(()), "the server says that it is not there");
    assert!(client.remove_sandbox("stuck", soon()).is_err());
    seen.lock().unwrap().truncate(2);
    let expected =
        [("StopPodSandbox".to_owned(), "abc".to_owned()), ("RemovePodSandbox".to_owned(), "abc".to_owned())];
    assert_eq!(*seen.lock().unwrap(), expected);
}

#[test]
fn a_server_that_is_no_runtime_is_told_apart_at_once() {
    let server = Server::start(|_, _| Answer::Status(12));
    let failure = Client::wait_until_ready(&server.socket(), soon(), |_| None).err().unwrap();
    assert!(failure.message.contains("does not speak"), "{failure}");
    assert!(failure.help.unwrap().contains("disabled_plugins"));
}

#[test]
fn a_runtime_that_comes_late_is_waited_for() {
    let server = Server { folder: tempfile::tempdir().unwrap(), calls: Arc::default() };
    let socket = server.socket();
    let waiting = std::thread::spawn(move || {
        Client::wait_until_ready(&socket, soon(), |_| None).map(|(_, version)| version.name)
    });
    std::thread::sleep(Duration::from_millis(100));
    let was_asked = AtomicBool::new(false);
    server.listen(move |path, _| match path.rsplit('/').next().unwrap() {
        "Version" => version("late"),
        _ => status(was_asked.swap(true, Ordering::Relaxed)),
    });
    assert_eq!(waiting.join().unwrap(), Ok("late".to_owned()));
    assert!(
        server.calls.lock().unwrap().iter().filter(|path| path.ends_with("Status")).count() > 1,
        "it was not ready at first"
    );
}

#[test]
fn silence_refusals_and_absence_end_at_the_deadline() {
    let brief = || Instant::now() + Duration::from_millis(150);
    let silent = Server::start(|_, _| Answer::Silence);
    let refusing = Server::start(|_, _| Answer::Status(14));
    let folder = tempfile::tempdir().unwrap();
    let absent = folder.path().join("absent.sock");
    let dead = folder.path().join("dead.sock");
    drop(UnixListener::bind(&dead).unwrap());
    let mute = folder.path().join("mute.sock");
    let _kept = UnixListener::bind(&mute).unwrap();
    for (socket, expected) in [
        (silent.socket(), "no answer in time"),
        (refusing.socket(), "no! (gRPC status 14)"),
        (absent, "there is no such socket"),
        (dead, "nothing listens there"),
        (mute, "no answer in time"),
    ] {
        let begin = Instant::now();
        let failure = Client::wait_until_ready(&socket, brief(), |_| None).err().unwrap();
        assert!(
            failure.message.contains(expected) && failure.kind == ErrorKind::Runtime && failure.transient,
            "{expected}: {failure}"
        );
        assert!((140..10_000).contains(&begin.elapsed().as_millis()), "{expected}: {:?}", begin.elapsed());
    }
}

#[test]
fn sockets_are_named_with_and_without_a_scheme() {
    for (endpoint, expected) in [
        ("unix:///run/c.sock", Some("/run/c.sock")),
        ("/run/c.sock", Some("/run/c.sock")),
        ("tcp://1.2.3.4:5", None),
        ("", None),
    ] {
        assert_eq!(socket_path(endpoint).ok(), expected.map(PathBuf::from), "{endpoint}");
    }
}

#[test]
fn waiting_ends_when_it_is_in_vain() {
    let folder = tempfile::tempdir().unwrap();
    let mut tries = 0;
    let failure = Client::wait_until_ready(&folder.path().join("none"), soon(), |_| {
        tries += 1;
        (tries == 3).then(|| "the service containerd has failed".to_owned())
    });
    let failure = failure.err().unwrap();
    assert_eq!((failure.kind, tries), (ErrorKind::Runtime, 3));
    assert!(
        failure.message.ends_with("there is no such socket; the service containerd has failed"),
        "{failure}"
    );
}

#[test]
fn the_driver_in_containerds_configuration_is_read() {
    let config = |kind: &str, options: &str| {
        format!(
            r#"{{"containerd":{{"defaultRuntimeName":"r","runtimes":{{"r":{{"runtimeType":"{kind}","options":{options}}}}}}}}}"#
        )
    };
    for (text, expected) in [
        (config("io.containerd.runc.v2", r#"{"SystemdCgroup":true}"#), Some(CgroupDriver::Systemd)),
        (config("io.containerd.runc.v2", r#"{"SystemdCgroup":false}"#), Some(CgroupDriver::Cgroupfs)),
        (config("io.containerd.runc.v2", "null"), Some(CgroupDriver::Cgroupfs)),
        (config("io.containerd.kata.v2", "{}"), None),
        ("{}".to_owned(), None),
        ("no json".to_owned(), None),
    ] {
        assert_eq!(parse_containerd_config(&text), expected, "{text}");
    }
}

#[test]
fn sockets_are_found_as_kubeadm_finds_them() {
    for (minor, link, sockets, expected) in [
        (20, true, &[][..], Ok("/var/run/dockershim.sock")),
        (20, true, &["/run/docker.sock", "/run/containerd/containerd.sock"], Ok("/var/run/dockershim.sock")),
        (23, true, &["/run/containerd/containerd.sock"], Ok("/run/containerd/containerd.sock")),
        (20, true, &["/run/containerd/containerd.sock", "/run/crio/crio.sock"], Err(())),
        (24, true, &[], Ok("unix:///var/run/containerd/containerd.sock")),
        (36, true, &["/run/containerd/containerd.sock"], Ok("unix:///var/run/containerd/containerd.sock")),
        (36, true, &["/run/crio/crio.sock"], Ok("unix:///var/run/crio/crio.sock")),
        (36, true, &["/run/crio/crio.sock", "/run/cri-dockerd.sock"], Err(())),
        // Without the link from /var/run to /run.
        (24, false, &[], Ok("unix:///run/containerd/containerd.sock")),
        (36, false, &["/run/containerd/containerd.sock"], Ok("unix:///run/containerd/containerd.sock")),
        (
            36,
            false,
            &["/run/containerd/containerd.sock", "/var/run/other"],
            Ok("unix:///run/containerd/containerd.sock"),
        ),
        (36, false, &["/var/run/crio/crio.sock"], Ok("unix:///var/run/crio/crio.sock")),
        (20, false, &["/run/crio/crio.sock"], Ok("/run/crio/crio.sock")),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::at(folder.path());
        for socket in sockets {
            crate::host::files::write(&root.path(socket), b"", 0o600).unwrap();
        }
        if link {
            std::fs::create_dir_all(root.path("/var")).unwrap();
            std::os::unix::fs::symlink("/run", root.path("/var/run")).unwrap();
        }
        assert_eq!(
            detect_socket(&root, minor).as_deref().map_err(|_| ()),
            expected,
            "{minor} {link} {sockets:?}"
        );
    }
}
