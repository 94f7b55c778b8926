//! `kiln serve`

use serde_json::json;

use super::Terminal;
use crate::cli::ServeArgs;
use crate::error::Result;
use crate::serve::{Server, Settings};

/// Serves until the process is asked to end.
pub fn run(args: &ServeArgs, terminal: &Terminal) -> Result<()> {
    let server = Server::open(Settings {
        folder: args.folder.clone(),
        listen: args.listen,
        https_listen: args.https_listen,
        url: args.url.clone(),
        config: args.config.clone(),
        state: args.state.clone(),
        forget: args.forget.clone(),
        token_command: args.token_command.clone(),
        once: args.once,
        install: args.install.clone(),
        install_overwrite: args.install_overwrite,
        ipxe: args.ipxe.clone(),
        connections_per_address: args.connections_per_address.get(),
        access_log: args.access_log.clone(),
        json: terminal.json,
    })?;
    let (http, https) = server.addresses();
    let urls: Vec<_> =
        server.urls.iter().map(|(url, meaning)| json!({ "url": url, "is": meaning })).collect();
    let value = json!({ "listen": http, "https-listen": https, "urls": urls, "notices": server.notices });
    terminal.line(&value, &text(&server))?;
    server.run()
}

fn text(server: &Server) -> String {
    let (http, https) = server.addresses();
    let mut lines = vec![format!("listen   http {http}")];
    lines.extend(https.map(|https| format!("listen   https {https}")));
    lines.extend(server.urls.iter().map(|(url, meaning)| format!("url      {url}  {meaning}")));
    lines.extend(server.notices.iter().map(|notice| format!("notice   {notice}")));
    lines.join("\n")
}
