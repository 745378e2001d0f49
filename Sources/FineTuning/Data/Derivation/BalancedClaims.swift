// Questions that are answered with yes or no: whatever is claimed of photos is denied exactly as often as it is affirmed.

/// What can be claimed of every photo of a set, true of some and false of others.
struct BalancedClaims {
    /// The names of what is claimed; the order of drawing follows from them.
    let names: [String]
    /// Photos of which each is true.
    let shown: [[Int]]
    /// Photos of the set.
    let photoCount: Int

    /// Questions: of each photo at most `most` claims are affirmed, the rarest first, or what is on nearly every photo would be
    /// asked for and nothing else. Denials go first to photos that affirm most. With `nearness` every other denial goes to the
    /// quarter of photos that it is greatest for: a kitchen is denied of bathrooms, not of dogs alone.
    func candidates(
        most: Int, order: (Int, String) -> UInt64, isFalse: (_ claim: Int, _ photo: Int) -> Bool,
        nearness: ((_ claim: Int, _ photo: Int) -> Double)? = nil,
        question: (_ claim: Int, _ photo: Int) -> String
    ) -> [DerivedQuestions.Candidate] {
        var ofPhoto: [[Int]] = Array(repeating: [], count: photoCount)
        for (claim, photos) in shown.enumerated() {
            for photo in photos { ofPhoto[photo].append(claim) }
        }
        var kept: [[Int]] = Array(repeating: [], count: names.count)
        var wanted = Array(repeating: 0, count: photoCount)  // denials still to be placed
        for photo in ofPhoto.indices {
            let rarest = ofPhoto[photo].sorted {
                (shown[$0].count, order(photo, names[$0])) < (shown[$1].count, order(photo, names[$1]))
            }
            for claim in rarest.prefix(most) { kept[claim].append(photo) }
            wanted[photo] = min(most, rarest.count)
        }
        var candidates: [DerivedQuestions.Candidate] = []
        for claim in names.indices.sorted(by: { (shown[$0].count, $0) > (shown[$1].count, $1) })
        where !kept[claim].isEmpty {
            let drawn = (0..<photoCount).map { order($0, names[claim]) }
            func sorted(_ photos: some Sequence<Int>) -> [Int] {
                photos.sorted { (-wanted[$0], drawn[$0]) < (-wanted[$1], drawn[$1]) }
            }
            let all = (0..<photoCount).filter { isFalse(claim, $0) }
            var no = sorted(all)
            if let nearness {
                let near = all.map { (nearness(claim, $0), $0) }.sorted { ($1.0, $0.1) < ($0.0, $1.1) }.map(\.1)
                no = Self.inTurn(sorted(near.prefix(all.count / 4)), sorted(near.dropFirst(all.count / 4)))
            }
            let yes = kept[claim].sorted { drawn[$0] < drawn[$1] }
            for (affirmed, denied) in zip(yes, no) {
                wanted[denied] -= 1
                for (photo, answer) in [(affirmed, "yes"), (denied, "no")] {
                    candidates.append(
                        DerivedQuestions.Candidate(
                            photo: photo, question: question(claim, photo), answer: answer, order: drawn[photo]))
                }
            }
        }
        return candidates
    }

    /// One of each in turn, then what is left of the longer.
    static func inTurn(_ first: [Int], _ second: [Int]) -> [Int] {
        let common = min(first.count, second.count)
        return zip(first, second).flatMap { [$0, $1] } + first.dropFirst(common) + second.dropFirst(common)
    }
}
