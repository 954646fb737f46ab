/**
 * Reads mosquitto.conf(5) as lines with their file and number. Files of include_dir take the place of the option. What
 * is odd here is so in mosquitto's conf.c.
 */
import { MeshError } from '../../../core/errors.ts'

export type Line = {
  readonly file: string
  readonly number: number
  readonly name: string
  /** Without spaces around it. */
  readonly value: string
}
export type Files = {
  /** Undefined: there is no such file. */
  read(file: string): Buffer | undefined
  /** Names in a folder; throws when there is none. */
  list(folder: string): readonly string[]
}

const MAX_FILES = 256
const MAX_BYTES = 4 * 1024 * 1024

/** @throws MESH_CONFIG_INVALID */
export function readConf(file: string, files: Files): readonly Line[] {
  const lines: Line[] = []
  const read = new Set<string>()
  const take = (from: string, which: 'main' | 'included'): void => {
    if (read.size >= MAX_FILES) invalid(`include_dir leads to more than ${MAX_FILES} files`)
    if (read.has(from)) return
    read.add(from)
    const content = files.read(from) ?? invalid(`there is no file ${from}`)
    if (content.length > MAX_BYTES) invalid(`${from} is larger than ${MAX_BYTES} bytes`)
    for (const [i, text] of content.toString('utf8').split(/\r?\n/).entries()) {
      const line = lineOf(text, from, i + 1)
      // Included files include no others: there the line is told.
      if (which === 'main' && line?.name === 'include_dir')
        for (const name of included(line.value, files)) take(`${line.value}/${name}`, 'included')
      else if (line) lines.push(line)
    }
  }
  take(file, 'main')
  return lines
}

function lineOf(text: string, file: string, number: number): Line | undefined {
  if (text.startsWith('#')) return undefined
  const [, name, value = ''] = /^\s*(\S+)(?:\s+(.*?))?\s*$/s.exec(text) ?? []
  return name === undefined || name.startsWith('#') ? undefined : { file, number, name, value }
}

/**
 * Words of options that are no text. What stands behind the first is not looked at, and a comment ends those with
 * several: text goes on to the end of the line, `#` and all.
 */
export function splitWords(value: string): readonly string[] {
  const words = value.split(/\s+/).filter((word) => word !== '')
  const comment = words.findIndex((word) => word.startsWith('#'))
  return comment < 0 ? words : words.slice(0, comment)
}

/** Letter by letter, the capital one before the small one of the same letter. */
function compareNames(a: string, b: string): number {
  const [one, other] = [a, b].map((name) => name.replace(/[A-Za-z]/g, (letter) => letter.toUpperCase() + letter))
  return one! < other! ? -1 : 1
}

function included(folder: string, files: Files): readonly string[] {
  try {
    return files
      .list(folder)
      .filter((name) => name.endsWith('.conf'))
      .toSorted(compareNames)
  } catch (cause) {
    throw new MeshError('MESH_CONFIG_INVALID', `include_dir: ${folder} cannot be read`, { cause })
  }
}

function invalid(what: string): never {
  throw new MeshError('MESH_CONFIG_INVALID', what)
}
