/// Every stable error code, in one table; the raw value is what users, scripts and metrics see.
///
/// A code is never renamed and never reused. Clients treat codes they do not know as text.
public enum FailureCode: String, Sendable, CaseIterable {
    // Inputs: the image.
    /// A file of no bytes.
    case emptyFile = "empty_file"
    /// Not an image, or an image of a kind that is not supported.
    case unsupportedType = "unsupported_type"
    /// The image data ends too early or is damaged.
    case corruptImage = "corrupt_image"
    /// The image's width, height or size is over the configured limit.
    case imageTooLarge = "image_too_large"
    /// The file cannot be opened for lack of permission.
    case unreadable = "unreadable"
    /// A symbolic link, FIFO, socket or device where a regular file was expected.
    case notRegularFile = "not_regular_file"
    /// The image that a task spec names never came.
    case imageMissing = "image_missing"
    // Inputs: the task spec.
    /// The task spec breaks a rule of its format.
    case specInvalid = "spec_invalid"
    /// The task spec came after its photo had been answered.
    case specLate = "spec_late"
    /// Another photo or spec already claims this one's place.
    case specConflict = "spec_conflict"
    // Inputs: prompts.
    /// The prompt with its answer does not fit the model's context.
    case promptTooLong = "prompt_too_long"
    // Files of models and adapters.
    /// A model file is damaged or has an unexpected form.
    case modelInvalid = "model_invalid"
    /// A model file holds something (a tensor type, an architecture, a pickle opcode) that is not supported.
    case modelUnsupported = "model_unsupported"
    /// The model or adapter is not there.
    case modelMissing = "model_missing"
    /// An adapter was made for another base model.
    case adapterMismatch = "adapter_mismatch"
    /// An adapter that was to be promoted answers worse than it should.
    case adapterWorse = "adapter_worse"
    // Running.
    /// The configuration is wrong.
    case configurationInvalid = "configuration_invalid"
    /// The command line is wrong.
    case usage = "usage"
    /// A file or directory that should exist does not.
    case notFound = "not_found"
    /// Permission was denied.
    case permissionDenied = "permission_denied"
    /// A file cannot be created.
    case cannotCreate = "cannot_create"
    /// Reading or writing failed.
    case inputOutput = "input_output"
    /// No space is left where something must be written.
    case noSpace = "no_space"
    /// A passing fault; the job is tried again.
    case temporary = "temporary"
    /// The job took the process down twice while it ran alone.
    case poison = "poison"
    /// An operator removed the job.
    case removed = "removed"
    /// The daemon is not there, not ready or going away.
    case unavailable = "unavailable"
    /// The peer spoke something that is not the protocol.
    case protocolViolation = "protocol_violation"
    /// A fault of memvpd itself.
    case internalError = "internal_error"

    /// The exit code a program ends with when this failure ends it.
    public var exitCode: ExitCode {
        switch self {
        case .emptyFile, .unsupportedType, .corruptImage, .imageTooLarge, .notRegularFile, .specInvalid, .specLate,
            .specConflict, .promptTooLong, .poison, .removed, .protocolViolation:
            return .dataError
        case .imageMissing, .notFound, .unreadable: return .noInput
        case .modelInvalid, .modelUnsupported, .adapterWorse: return .dataError
        case .modelMissing, .adapterMismatch, .configurationInvalid: return .configuration
        case .usage: return .usage
        case .permissionDenied: return .permission
        case .cannotCreate: return .cantCreate
        case .inputOutput, .noSpace: return .inputOutput
        case .temporary: return .tryAgain
        case .unavailable: return .unavailable
        case .internalError: return .software
        }
    }
}
