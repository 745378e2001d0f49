// The classes and functions that a pickle may name. The list is closed: no other name has a meaning here, and none of
// these runs foreign code; each is a case that the machine knows what to do with.

/// An allowed class or function.
enum PickleGlobal: Equatable {
    case orderedDictionary
    case rebuildTensor
    case rebuildTensorV2
    case rebuildParameter
    /// A typed storage class, used inside persistent ids.
    case storage(ElementType)
    /// argparse.Namespace, the command line that training scripts put into their checkpoints: an inert value.
    case namespace
    /// A module class of a TorchScript archive; only its attributes are of interest.
    case scriptClass(String)
    /// TorchScript's typed list builders and type tags: the first argument is the value.
    case scriptValue(String)

    private static let storages: [String: ElementType] = [
        "FloatStorage": .float32, "HalfStorage": .float16, "BFloat16Storage": .bfloat16, "DoubleStorage": .float64,
        "LongStorage": .int64, "IntStorage": .int32, "ShortStorage": .int16, "CharStorage": .int8,
        "ByteStorage": .uint8, "BoolStorage": .bool,
    ]

    private static let scriptValues: Set<String> = [
        "build_intlist", "build_doublelist", "build_boollist", "build_tensorlist", "restore_type_tag",
    ]

    /// The global of that name; nil where it is not allowed.
    init?(module: String, name: String, isScript: Bool) {
        switch (module, name) {
        case ("collections", "OrderedDict"): self = .orderedDictionary
        case ("argparse", "Namespace"): self = .namespace
        case ("torch._utils", "_rebuild_tensor"): self = .rebuildTensor
        case ("torch._utils", "_rebuild_tensor_v2"): self = .rebuildTensorV2
        case ("torch._utils", "_rebuild_parameter"): self = .rebuildParameter
        case ("torch", _):
            guard let type = PickleGlobal.storages[name] else { return nil }
            self = .storage(type)
        case ("torch.jit._pickle", _):
            guard isScript, PickleGlobal.scriptValues.contains(name) else { return nil }
            self = .scriptValue(name)
        case _ where isScript && (module == "__torch__" || module.hasPrefix("__torch__.")):
            self = .scriptClass("\(module).\(name)")
        default: return nil
        }
    }

    /// What to call the global in a message.
    var name: String {
        switch self {
        case .orderedDictionary: return "collections.OrderedDict"
        case .namespace: return "argparse.Namespace"
        case .rebuildTensor: return "torch._utils._rebuild_tensor"
        case .rebuildTensorV2: return "torch._utils._rebuild_tensor_v2"
        case .rebuildParameter: return "torch._utils._rebuild_parameter"
        case .storage(let type): return "a torch storage of \(type.rawValue)"
        case .scriptClass(let name): return name
        case .scriptValue(let name): return "torch.jit._pickle.\(name)"
        }
    }
}
