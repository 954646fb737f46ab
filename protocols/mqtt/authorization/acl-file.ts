/**
 * mosquitto's acl_file (mosquitto.conf(5), "acl_file path"), read as mosquitto reads it: `topic`, `pattern` and `user`
 * lines, `read`, `write`, `readwrite` or `deny` before the topic, comments where the line begins with `#`. Lines before
 * the first `user` are those of clients without one. A file with a line that mosquitto refuses is refused as a whole.
 */
import { MeshError } from '../../../core/errors.ts'
import type { TimeSlice } from '../../../core/os/time-slice.ts'
import { Acl, AclTree, DENY, READ, WRITE } from './acl.ts'
import { filterProblem } from '../topics/topics.ts'

const RIGHTS: Readonly<Record<string, number>> = { read: READ, write: WRITE, readwrite: READ | WRITE, deny: DENY }
/** A file of more is none: a line takes a few hundred bytes of memory. */
export const MAX_ACL_FILE_BYTES = 4 * 1024 * 1024
/** As much of a word that is wrong as helps to find it. */
const MAX_QUOTED_CHARS = 40

/** Fifty thousand lines take a fifth of a second. @throws MESH_MQTT_ACL_FILE with file and line */
export async function parseAclFile(file: string, content: Uint8Array, slice: TimeSlice): Promise<Acl> {
  if (content.length > MAX_ACL_FILE_BYTES)
    throw new MeshError('MESH_MQTT_ACL_FILE', `${file} has more than ${MAX_ACL_FILE_BYTES} bytes`)
  const parser = new Parser()
  let number = 0
  try {
    const text = textOf(content)
    for (let from = 0; from < text.length;) {
      number++
      const end = text.indexOf('\n', from)
      parser.take(text.slice(from, end < 0 ? undefined : end))
      from = end < 0 ? text.length : end + 1
      if (slice.due) await slice.yield()
    }
  } catch (thrown) {
    if (!(thrown instanceof LineError)) throw thrown
    throw new MeshError('MESH_MQTT_ACL_FILE', `${file}${number === 0 ? '' : ` line ${number}`}: ${thrown.message}`)
  }
  return parser.acl()
}

class LineError extends Error {}

/** What is not UTF-8 is in no topic (MQTT 5.0 §1.5.4), so that a line of it would deny nothing. */
function textOf(content: Uint8Array): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(content)
  } catch {
    throw new LineError('it is not UTF-8')
  }
}

class Parser {
  readonly #users = new Map<string, AclTree>()
  #anonymous: AclTree | undefined
  #patterns: AclTree | undefined
  #user: string | undefined

  take(line: string): void {
    const text = trimmedEnd(line)
    if (text.startsWith('#')) return
    if (text.includes('\0')) throw new LineError('it holds U+0000')
    const [word, rest] = firstWord(text)
    switch (word) {
      case '':
        return
      case 'user':
        if (rest === '') throw new LineError('`user` has no name')
        this.#user = trimmed(rest)
        return
      case 'topic':
      case 'pattern':
        this.#add(word, rest)
        return
      default:
        throw new LineError(`${quoted(word)} is none of user, topic and pattern`)
    }
  }
  acl(): Acl {
    return new Acl({ users: this.#users, anonymous: this.#anonymous, patterns: this.#patterns })
  }

  #add(what: 'topic' | 'pattern', rest: string): void {
    const [first, more] = firstWord(rest)
    if (first === '') throw new LineError(`\`${what}\` has no topic`)
    // One word alone is a topic, also where it is `read`.
    const bits = more === '' ? READ | WRITE : Object.hasOwn(RIGHTS, first) ? RIGHTS[first] : undefined
    if (bits === undefined) throw new LineError(`${quoted(first)} is none of ${Object.keys(RIGHTS).join(', ')}`)
    const topic = more === '' ? first : trimmed(more)
    const problem = filterProblem(topic)
    if (problem !== undefined) throw new LineError(problem)
    const levels = topic.split('/')
    if (what === 'pattern') (this.#patterns ??= new AclTree()).addPattern(levels, bits)
    else this.#own().add(levels, bits, 'literal')
  }
  #own(): AclTree {
    if (this.#user === undefined) return (this.#anonymous ??= new AclTree())
    const known = this.#users.get(this.#user)
    if (known) return known
    const made = new AclTree()
    this.#users.set(this.#user, made)
    return made
  }
}

/** Words are parted by spaces, not by tabs. */
function firstWord(text: string): readonly [word: string, rest: string] {
  const from = text.replace(/^ +/, '')
  const end = from.indexOf(' ')
  return end < 0 ? [from, ''] : [from.slice(0, end), from.slice(end + 1)]
}
/** Of C's isspace(), which is less than JavaScript's. */
const isSpace = (char: string | undefined): boolean => char !== undefined && ' \t\v\f\r'.includes(char)
function trimmedEnd(text: string): string {
  let end = text.length
  while (end > 0 && isSpace(text[end - 1])) end--
  return text.slice(0, end)
}
function trimmed(text: string): string {
  let from = 0
  while (isSpace(text[from])) from++
  return trimmedEnd(text.slice(from))
}
const quoted = (word: string): string => JSON.stringify(word.slice(0, MAX_QUOTED_CHARS))
