// Nodes to values, gathering every fault on the way instead of stopping at the first.
//
// Invariant: whoever gets nil has had a fault reported, so a document is good exactly if `faults` is empty at the end.
// Unknown keys are faults with the nearest known key, since a misspelt option that is ignored is a silent wrong answer.

/// Reads mappings, lists and scalars of one document.
struct FieldReader {
    private(set) var faults: [Fault] = []

    mutating func report(_ position: Position?, _ cause: String, hint: String = "") {
        faults.append(Fault(at: position, cause, hint: hint))
    }

    /// Throws what has been reported, if anything was.
    func throwFaults() throws(Faults) {
        if let first = faults.first { throw Faults(first, Array(faults.dropFirst())) }
    }

    /// The fields of a mapping, by key; unknown keys are reported and left out.
    mutating func mapping(
        _ node: Node, _ name: String, keys: [String], expected: String
    ) -> [String: Node.Field]? {
        guard case .mapping(let fields) = node.content else {
            report(node.position, Self.complaint(name, node, expected))
            return nil
        }
        var known: [String: Node.Field] = [:]
        for field in fields {
            if keys.contains(field.key) {
                known[field.key] = field
            } else {
                let hint =
                    Self.nearest(field.key, among: keys).map { "Did you mean \(quoted($0))?" }
                    ?? "Known here: \(keys.joined(separator: ", "))."
                report(field.keyPosition, "unknown key \(quoted(field.key))", hint: hint)
            }
        }
        return known
    }

    /// The value of a scalar; `hint` is advice for whoever wrote something else.
    mutating func value<Value>(
        _ node: Node, _ name: String, _ syntax: Syntax<Value>, hint: String = ""
    ) -> Value? {
        if case .scalar(let text, _) = node.content, let value = syntax.read(text) { return value }
        report(node.position, Self.complaint(name, node, syntax.expected), hint: hint)
        return nil
    }

    /// The items of a list of a bounded length; `note` says where the bound is from, `tooFew` is advice against a short list.
    mutating func list(
        _ node: Node, _ name: String, of items: String, count: ClosedRange<Int>, note: String = "", tooFew: String = ""
    ) -> [Node]? {
        guard case .sequence(let nodes) = node.content else {
            report(node.position, Self.complaint(name, node, "a list of \(items)"))
            return nil
        }
        guard count.contains(nodes.count) else {
            let range = "from \(count.lowerBound) to \(count.upperBound)"
            report(
                node.position, "\(name): has \(nodes.count); \(range) \(items) are allowed\(note)",
                hint: nodes.count < count.lowerBound ? tooFew : "")
            return nil
        }
        return nodes
    }

    /// `KEY: TEXT is not EXPECTED`.
    static func complaint(_ name: String, _ node: Node, _ expected: String) -> String {
        "\(name): \(node.shown) is not \(expected)"
    }

    /// The known key that `word` is most likely meant to be: the nearest within a third of its length, 2 at least.
    static func nearest(_ word: String, among keys: [String]) -> String? {
        // Longer than any key with its typing errors; also bounds the work that a hostile key can ask for.
        guard word.unicodeScalars.count <= 64 else { return nil }
        let allowed = max(2, word.unicodeScalars.count / 3)
        return keys.map { (key: $0, distance: editDistance(word, $0)) }
            .filter { $0.distance <= allowed && $0.distance < $0.key.count }
            .min { $0.distance < $1.distance }?.key
    }

    /// Insertions, deletions, replacements and swaps of neighbours that make one word the other
    /// (optimal string alignment distance), upper and lower case being the same.
    static func editDistance(_ first: String, _ second: String) -> Int {
        let a = Array(first.lowercased().unicodeScalars)
        let b = Array(second.lowercased().unicodeScalars)
        var beforePrevious: [Int] = []
        var previous = Array(0...b.count)
        for i in a.indices {
            var current = [i + 1]
            for j in b.indices {
                var best = min(previous[j + 1] + 1, current[j] + 1, previous[j] + (a[i] == b[j] ? 0 : 1))
                if i > 0, j > 0, a[i] == b[j - 1], a[i - 1] == b[j] { best = min(best, beforePrevious[j - 1] + 1) }
                current.append(best)
            }
            beforePrevious = previous
            previous = current
        }
        return previous[b.count]
    }
}
