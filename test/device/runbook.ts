/** The blocks of deploy/edge/README.md, for machines to type. */
import fs from 'node:fs'
import path from 'node:path'

const EDGE = path.resolve(import.meta.dirname, '../../deploy/edge')

export type Block = {
  readonly section: string
  readonly machine: 'hub' | 'device'
  /** Which of several ways it is; '' where there is one. */ readonly way: string
  readonly script: string
}

/** In the order of the page. Throws when a block says for neither machine. */
export function runbookBlocks(): readonly Block[] {
  const text = fs.readFileSync(path.join(EDGE, 'README.md'), 'utf8')
  let section = ''
  return [...text.matchAll(/^## (.*)$|^```sh *(.*)\n([^]*?)^```$/gm)].flatMap(([, title, words, script]): Block[] => {
    if (title !== undefined) {
      section = title
      return []
    }
    const [machine, way = ''] = words!.split(' ')
    if (machine !== 'hub' && machine !== 'device')
      throw new Error(`a block of "${section}" is for "${machine}": neither hub nor device`)
    return [{ section, machine, way, script: script! }]
  })
}
