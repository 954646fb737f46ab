/** Bytes of protobuf without their schema, for comparing what two programs wrote. */
import { readMessage } from '../../protocols/protobuf/message.ts'

export type Tree = string | number | { readonly [no: string]: Tree | readonly Tree[] }

/** Bytes that read as a message are one, unless `texts` (paths like `1.5`) says that they are text. */
export function toTree(bytes: Buffer, texts: ReadonlySet<string> = new Set(), path = ''): Tree {
  const fields = readMessage(bytes)
  if (texts.has(path) || bytes.length === 0 || !fields) return bytes.toString('utf8')
  const tree: Record<string, Tree | Tree[]> = {}
  for (const { no, bytes: value, number } of fields) {
    const made = value.length === 0 ? number : toTree(value, texts, path === '' ? String(no) : `${path}.${no}`)
    const known = tree[no]
    tree[no] = known === undefined ? made : Array.isArray(known) ? [...known, made] : [known, made]
  }
  return tree
}
