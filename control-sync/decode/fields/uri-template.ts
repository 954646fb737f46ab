/**
 * envoy.extensions.path.match.uri_template.v3: paths with `*` for one segment, `**` for any number of characters, and
 * `{name}` or `{name=…}` for one that has a name. Istio's `{*}` and `{**}` arrive as `*` and `**`.
 */
import { compileRegex, type SafeRegex } from '../../../core/regex.ts'
import type { TypedExtensionConfig } from '../../../proto/gen/envoy/config/core/v3/extension_pb.ts'
import { UriTemplateMatchConfigSchema } from '../../../proto/gen/envoy/extensions/path/match/uri_template/v3/uri_template_match_pb.ts'
import { unpack } from './any.ts'
import { hasUnknown, type DecodePath } from './decode-path.ts'

/** A pchar (RFC 3986 §3.3) of a path; in a template `*` and `=` are no text. As Envoy has it. */
const PCHAR = "a-zA-Z0-9\\-._~%!$&'()*+,;=:@"
const LITERAL = /^[a-zA-Z0-9\-._~%!$&'()+,;:@]+$/
const ONE_SEGMENT = `[${PCHAR}]+`
const ANY_TEXT = `[${PCHAR}/]*`
/** Envoy's bounds of names. */
const MAX_NAMES = 5
const NAME = /^[a-zA-Z][a-zA-Z0-9_]{0,15}$/

/**
 * @returns what the path without its query must match as a whole; undefined: another extension; with an issue where the
 * template is none
 */
export function decodeUriTemplate(at: DecodePath, from: TypedExtensionConfig): SafeRegex | 'other' | undefined {
  const here = at.in('typed_config')
  const config = unpack(here, from.typedConfig, UriTemplateMatchConfigSchema)
  if (!config || hasUnknown(config)) return 'other'
  const made = compileTemplate(config.pathTemplate)
  if (typeof made !== 'string') return made
  here.in('path_template').issue(made)
  return undefined
}

/** @returns what is wrong with it as text */
export function compileTemplate(template: string): SafeRegex | string {
  if (!/^\/[!-~]*$/.test(template)) return 'is no path of printable characters'
  const parts = new TemplateParts()
  const problem = parts.read(template.slice(1))
  if (problem !== undefined) return problem
  const made = compileRegex(`/${parts.regex}`)
  return 'problem' in made ? made.problem : made
}

class TemplateParts {
  regex = ''
  readonly #names = new Set<string>()
  /** `**` takes all: nothing behind it may be open. */
  #hasAnyText = false

  /** @returns what is wrong */
  read(template: string): string | undefined {
    let rest = template
    while (rest !== '') {
      const part = /^(?:\*\*?|\{[^}]*\}|[^/*{}]+)/.exec(rest)?.[0]
      if (part === undefined) return 'holds what is no segment'
      rest = rest.slice(part.length)
      const problem = part.startsWith('{') ? this.#readVariable(part.slice(1, -1)) : this.#readOne(part)
      if (problem !== undefined) return problem
      if (rest.startsWith('/')) {
        this.regex += '/'
        rest = rest.slice(1)
        if (rest.startsWith('/')) return 'has an empty segment'
      } else if (rest !== '') {
        // What ends the last segment.
        if (!LITERAL.test(rest)) return 'goes on behind a segment that is open'
        this.regex += escapeLiteral(rest)
        rest = ''
      }
    }
    return undefined
  }

  #readVariable(text: string): string | undefined {
    const equals = text.indexOf('=')
    const name = equals < 0 ? text : text.slice(0, equals)
    if (!NAME.test(name)) return 'has a name that is none'
    if (this.#names.has(name)) return `has the name ${name} twice`
    if (this.#names.size === MAX_NAMES) return `has more than ${MAX_NAMES} names`
    this.#names.add(name)
    for (const [i, one] of (equals < 0 ? '*' : text.slice(equals + 1)).split('/').entries()) {
      if (i > 0) this.regex += '/'
      const problem = this.#readOne(one)
      if (problem !== undefined) return problem
    }
    return undefined
  }

  #readOne(part: string): string | undefined {
    if (part !== '*' && part !== '**') {
      if (!LITERAL.test(part)) return `holds ${part}, which is no text of a segment`
      this.regex += escapeLiteral(part)
      return undefined
    }
    if (this.#hasAnyText) return 'has something open behind **'
    this.#hasAnyText = part === '**'
    this.regex += part === '*' ? ONE_SEGMENT : ANY_TEXT
    return undefined
  }
}

function escapeLiteral(text: string): string {
  return text.replace(/[$()+.]/g, '\\$&')
}
