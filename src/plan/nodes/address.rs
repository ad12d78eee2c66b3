//! How a node is reached by its clients, and by the other one.

use super::Node;
use crate::plan::shell::quoted;

/// Where a server can be reached on its own machine.
pub(super) struct Address {
    directory: String,
    pub(super) port: String,
}

impl Address {
    pub(super) fn of(node: &Node) -> Address {
        let sockets = node.settings.value("unix_socket_directories");
        let first = sockets.split(',').map(str::trim).find(|path| path.starts_with('/'));
        let port = node.settings.value("port");
        Address {
            directory: first.unwrap_or("/tmp").to_owned(),
            port: if port.is_empty() { "5432" } else { port }.to_owned(),
        }
    }

    pub(super) fn options(&self) -> String {
        format!("-h {} -p {}", quoted(&self.directory), quoted(&self.port))
    }

    /// For another server.
    pub(super) fn conninfo(&self) -> String {
        format!("host={} port={}", self.directory, self.port)
    }
}
