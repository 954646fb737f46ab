/**
 * mosquitto's acl_file (mosquitto.conf(5), "acl_file path"), read as mosquitto reads it: `topic`, `pattern` and `user`
 * lines, `read`, `write`, `readwrite` or `deny` before the topic, comments where the line begins with `#`. Lines before
 * the first `user` are those of clients without one. A file with a line that mosquitto refuses is refused as a whole.
 */
import { walkLines } from '../../../core/os/files/lines.ts'
import type { TimeSlice } from '../../../core/os/time-slice.ts'
import { Acl, AclTree, DENY, READ, WRITE } from './acl.ts'
import { filterProblem } from '../topics/topics.ts'

const RIGHTS: Readonly<Record<string, number>> = { read: READ, write: WRITE, readwrite: READ | WRITE, deny: DENY }
/** A file of more is none: a line takes a few hundred bytes of memory. */
export const MAX_ACL_FILE_BYTES = 4 * 1024 * 1024
/** As much of a word that is wrong as helps to find it. */
const MAX_QUOTED_CHARS = 40

/** Fifty thousand lines take a fifth of a second. Rejects with an Error that names the line. */
export async function parseAclFile(text: string, slice: TimeSlice): Promise<Acl> {
  const parser = new Parser()
  await walkLines(text, slice, (line, number) => {
    const problem = parser.take(line)
    if (problem !== undefined) throw new Error(`line ${number}: ${problem}`)
  })
  return parser.acl()
}

class Parser {
  readonly #users = new Map<string, AclTree>()
  #anonymous: AclTree | undefined
  #patterns: AclTree | undefined
  #user: string | undefined

  /** @returns what is wrong with the line */
  take(line: string): string | undefined {
    const text = trimmedEnd(line)
    if (text.startsWith('#')) return undefined
    if (text.includes('\0')) return 'it holds U+0000'
    const [word, rest] = firstWord(text)
    switch (word) {
      case '':
        return undefined
      case 'user':
        if (rest === '') return '`user` has no name'
        this.#user = trimmed(rest)
        return undefined
      case 'topic':
      case 'pattern':
        return this.#add(word, rest)
      default:
        return `${quoted(word)} is none of user, topic and pattern`
    }
  }
  acl(): Acl {
    return new Acl({ users: this.#users, anonymous: this.#anonymous, patterns: this.#patterns })
  }

  #add(what: 'topic' | 'pattern', rest: string): string | undefined {
    const [first, more] = firstWord(rest)
    if (first === '') return `\`${what}\` has no topic`
    // One word alone is a topic, also where it is `read`.
    const bits = more === '' ? READ | WRITE : Object.hasOwn(RIGHTS, first) ? RIGHTS[first] : undefined
    if (bits === undefined) return `${quoted(first)} is none of ${Object.keys(RIGHTS).join(', ')}`
    const topic = more === '' ? first : trimmed(more)
    const problem = filterProblem(topic)
    if (problem !== undefined) return problem
    const levels = topic.split('/')
    if (what === 'pattern') (this.#patterns ??= new AclTree()).addPattern(levels, bits)
    else this.#own().add(levels, bits, 'literal')
    return undefined
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
