/** A YAML file with several documents → plain data, and where in the file each part stands. */
import { isMap, isScalar, isSeq, LineCounter, parseAllDocuments, type Document, type ParsedNode } from 'yaml'
import { explainYamlFailure, listYamlMistakes, PARSE_YAML } from '../../../core/yaml.ts'
import type { Place } from '../config.ts'

export type YamlDocument = { readonly plain: unknown; placeOf(path: readonly PropertyKey[]): Place }
export type YamlProblem = Place & { readonly problem: string }
export type ReadYaml = { readonly documents: readonly YamlDocument[]; readonly problems: readonly YamlProblem[] }

/** Of a file; a folder of more is many files. */
const MAX_CHARS = 4 * 1024 * 1024
/** Of one document: a few lines could stand for gigabytes. */
const MAX_ALIASES = 100

/** Dates are texts to Go's YAML, which knows no ordered maps. */
const UNKNOWN_TAGS = /:(?:timestamp|omap)$/

/** Never throws. */
export function readDocuments(text: string): ReadYaml {
  if (text.length > MAX_CHARS)
    return { documents: [], problems: [fileProblem(`is longer than ${MAX_CHARS} characters`)] }
  try {
    return readAll(text)
  } catch (err) {
    return { documents: [], problems: [fileProblem(explainYamlFailure(err))] }
  }
}

function fileProblem(problem: string): YamlProblem {
  return { line: 1, column: 1, problem }
}

function readAll(text: string): ReadYaml {
  const lines = new LineCounter()
  const documents: YamlDocument[] = []
  const problems: YamlProblem[] = []
  const place = (offset: number): Place => {
    const { line, col } = lines.linePos(offset)
    return { line: line || 1, column: col || 1 }
  }
  // As istiod reads it (Go's YAML): `yes` is a boolean, 1:30 is no number of seconds, dates are texts.
  const all = parseAllDocuments(text, {
    version: '1.1',
    customTags: (tags) =>
      tags.filter((t) => typeof t === 'string' || (t.format !== 'TIME' && !UNKNOWN_TAGS.test(t.tag))),
    ...PARSE_YAML,
    lineCounter: lines,
  })
  for (const document of Array.isArray(all) ? all : []) {
    const mistakes = listYamlMistakes(document)
    problems.push(...mistakes.map(({ offset, problem }) => ({ ...place(offset), problem })))
    if (mistakes.length > 0) continue
    try {
      const plain: unknown = document.toJS({ maxAliasCount: MAX_ALIASES })
      if (plain !== null && plain !== undefined)
        documents.push({ plain, placeOf: (path) => place(findOffset(document, path)) })
    } catch (err) {
      const at = document.contents?.range[0] ?? 0
      problems.push({ ...place(at), problem: explainYamlFailure(err) })
    }
  }
  return { documents, problems }
}

/** Of the key, or of the nearest part of the path that is there. */
function findOffset(document: Document.Parsed, path: readonly PropertyKey[]): number {
  let node: unknown = document.contents
  let offset = document.contents?.range[0] ?? 0
  for (const step of path) {
    const found = stepInto(node, step)
    if (!found) break
    offset = found.offset
    node = found.node
  }
  return offset
}

function stepInto(node: unknown, step: PropertyKey): { readonly node: unknown; readonly offset: number } | undefined {
  if (isSeq(node)) {
    const item = node.items[Number(step)] as ParsedNode | undefined
    return item && { node: item, offset: item.range[0] }
  }
  if (!isMap(node)) return undefined
  const pair = node.items.find(({ key }) => isScalar(key) && String(key.value) === String(step))
  return pair && { node: pair.value, offset: (pair.key as ParsedNode).range[0] }
}
