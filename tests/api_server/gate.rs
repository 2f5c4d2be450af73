//! A TCP forwarder to the API server that can hold back what passes, and let it through late.

use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use test_support::{ControlPlane, User};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

pub struct Gate {
    open: watch::Sender<bool>,
    address: String,
}

impl Gate {
    /// An open one.
    pub async fn start() -> Self {
        let upstream = ControlPlane::shared().await.unwrap().server_url().trim_start_matches("https://").to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (open, state) = watch::channel(true);
        tokio::spawn(async move {
            while let Ok((downstream, _)) = listener.accept().await {
                let (from_client, to_client) = downstream.into_split();
                let (from_server, to_server) = TcpStream::connect(&upstream).await.unwrap().into_split();
                tokio::spawn(forward(from_client, to_server, state.clone()));
                tokio::spawn(forward(from_server, to_client, state.clone()));
            }
        });
        Self { open, address }
    }

    pub fn close(&self) {
        self.open.send_replace(false);
    }

    pub fn open(&self) {
        self.open.send_replace(true);
    }

    /// A client that reaches the API server through the gate.
    pub async fn client(&self) -> Client {
        let mut kubeconfig = Kubeconfig::from_yaml(ControlPlane::shared().await.unwrap().kubeconfig()).unwrap();
        for cluster in &mut kubeconfig.clusters {
            cluster.cluster.as_mut().unwrap().server = Some(format!("https://{}", self.address));
        }
        let options = KubeConfigOptions { context: Some(User::Admin.name().to_owned()), ..KubeConfigOptions::default() };
        Config::from_custom_kubeconfig(kubeconfig, &options).await.unwrap().try_into().unwrap()
    }
}

/// What was read is passed on even when the reading side has closed meanwhile.
async fn forward(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, mut open: watch::Receiver<bool>) {
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        if open.wait_for(|open| *open).await.is_err() || to.write_all(&buffer[..length]).await.is_err() {
            return;
        }
    }
}
