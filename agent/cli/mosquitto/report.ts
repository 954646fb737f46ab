/** What became of each line of mosquitto.conf. */
import { MeshError } from '../../../core/errors.ts'
import { splitWords, type Line } from './read.ts'

/** `left`: it cannot be expressed. `same`: nothing has to be written, meshlet does it anyway or has no need of it. */
export type Remark = { readonly kind: 'left' | 'same'; readonly line: Line; readonly text: string }

export class Report {
  readonly remarks: Remark[] = []
  left(line: Line, text: string): undefined {
    this.remarks.push({ kind: 'left', line, text })
  }
  same(line: Line, text: string): undefined {
    this.remarks.push({ kind: 'same', line, text })
  }

  // Values, as mosquitto reads them.

  bool({ name, value, file, number }: Line): boolean {
    const [word] = splitWords(value)
    if (word === 'true' || word === '1') return true
    if (word === 'false' || word === '0') return false
    throw wrong(`${file}:${number}: ${name} must be true or false, not "${value}"`)
  }
  number({ name, value, file, number }: Line): number {
    const [word = ''] = splitWords(value)
    if (!/^-?\d+$/.test(word)) throw wrong(`${file}:${number}: ${name} must be a number, not "${value}"`)
    return Number(word)
  }
}

function wrong(what: string): MeshError {
  return new MeshError('MESH_CONFIG_INVALID', what)
}
