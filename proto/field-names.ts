/** What a field is called that our protos do not have. */
import { LEFT_OUT } from './gen/left-out.ts'

let byType: Map<string, ReadonlyMap<number, string>> | undefined

/** Undefined for a field that no Envoy up to the release in proto/full/rows.ts has. */
export function findLeftOutName(type: string, no: number): string | undefined {
  byType ??= new Map(
    LEFT_OUT.split('\n').map((line) => {
      const [name, ...rest] = line.split(' ')
      return [
        name!,
        new Map(rest.flatMap((text, i): [number, string][] => (i % 2 === 0 ? [[Number(text), rest[i + 1]!]] : []))),
      ]
    }),
  )
  return byType.get(type)?.get(no)
}

/** Names of fields of `type` that our protos do not have. */
export function listLeftOutNames(type: string): readonly string[] {
  findLeftOutName(type, 0)
  return [...(byType?.get(type)?.values() ?? [])]
}
