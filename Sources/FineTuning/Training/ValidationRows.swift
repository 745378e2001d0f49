// Which validation rows are scored: scoring all of a large file at every validation would take longer than the steps between.

/// Chooses validation rows.
enum ValidationRows {
    /// About `limit` of `rows`, in their order: all rows of photos that are spread evenly over all of them, so that of several files
    /// each has its part.
    static func spread(_ rows: [ExampleRow], limit: Int) -> [ExampleRow] {
        guard rows.count > limit, limit > 0 else { return rows }
        let photos = rows.grouped { $0.image }.compactMap(\.first?.image)
        let chosen = photos.enumerated().filter { index, _ in
            index == 0 || index * limit / rows.count > (index - 1) * limit / rows.count
        }
        let images = Set(chosen.map(\.element))
        return rows.filter { images.contains($0.image) }
    }
}
