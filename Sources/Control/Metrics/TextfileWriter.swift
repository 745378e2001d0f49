// The metrics as a file for node_exporter's textfile collector, for hosts whose Prometheus cannot scrape a Unix socket.
//
// Invariant: a reader sees the old text or the new, never a part: a temporary file in the same directory is written, synced
// and renamed. Its name does not end in `.prom`, so the collector never reads it.
// Failure modes: a path that does not end in `.prom` would be ignored by the collector, so it is refused.

public import Diagnostics

/// Writes a text as one `.prom` file, whole or not at all.
public struct TextfileWriter: Sendable {
    /// The file that the collector reads.
    public let path: String

    /// - Throws: `configuration_invalid` unless `path` is absolute and names a file that ends in `.prom`.
    public init(path: String) throws(Failure) {
        guard path.hasPrefix("/") else {
            throw Failure(
                .configurationInvalid, "metrics.textfile", "the path \(path) is not absolute",
                hint: "Write it from the root, as in /var/lib/prometheus/node-exporter/memvpd.prom.")
        }
        let name = path.split(separator: "/", omittingEmptySubsequences: false).last ?? ""
        guard name.hasSuffix(".prom"), name.utf8.count > 5, !name.hasPrefix(".") else {
            throw Failure(
                .configurationInvalid, "metrics.textfile", "the file \(path) does not end in .prom",
                hint: "node_exporter's textfile collector reads *.prom files only.")
        }
        self.path = path
    }

    /// Replaces the file's content, mode 0644.
    ///
    /// - Throws: `cannot_create`, `no_space` or `input_output`; the old file then still stands and no temporary file is left.
    public func write(_ text: String) throws(Failure) {
        try FileBridge.replaceFile(path, with: Array(text.utf8), mode: 0o644)
    }
}
