// The templates of a bundle, read: what serving, training and scoring all build their prompts with.

public import Diagnostics
public import Specification
public import Text

/// How a task becomes a prompt, and how its answer follows.
public struct TaskTemplate: Sendable {
    /// The prompt's text, with places for the task's values.
    public let prompt: PromptTemplate
    /// What stands between prompt and answer, and what ends it.
    public let form: AnswerForm
    /// How questions with lettered options are put; nil where the bundle does not say.
    public let format: QuestionFormat?
}

extension ModelBundle {
    /// The bundle's templates, by kind of task.
    ///
    /// - Throws: `model_invalid` when a template, its style or its end token cannot be used.
    public func taskTemplates() throws(Failure) -> [TaskKind: TaskTemplate] {
        var templates: [TaskKind: TaskTemplate] = [:]
        for (kind, template) in description.templates {
            guard let style = AnswerForm.Style(rawValue: template.style) else {
                throw Failure(.modelInvalid, "\(path)/model.yaml: style", "is \(template.style)")
            }
            do throws(Failure) {
                templates[kind] = TaskTemplate(
                    prompt: try PromptTemplate(template.prompt, placeholders: kind == .ask ? ["question"] : []),
                    form: try AnswerForm(separator: template.separator, end: template.end, style: style, tokenizer),
                    format: template.format)
            } catch {
                throw error.about("\(path)/model.yaml: templates.\(kind.rawValue)")
            }
        }
        return templates
    }

    /// The template for tasks of `kind`.
    ///
    /// - Throws: `model_missing` when the bundle has none; `model_invalid` as above.
    public func taskTemplate(_ kind: TaskKind) throws(Failure) -> TaskTemplate {
        guard let template = try taskTemplates()[kind] else {
            throw Failure(
                .modelMissing, path, "has no template for \(kind.rawValue)", hint: "Convert the model again.")
        }
        return template
    }
}
