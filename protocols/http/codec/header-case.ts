/**
 * Names of fields as some HTTP/1.1 peers want them, who do not know that case has no meaning (RFC 9110 §5.1). Everything
 * in between has them in lower case; they are written otherwise where a head becomes text.
 */
import type { HeaderCase } from '../../../model/http/header-case.ts'

/** Of one head, as its sender wrote them: the first of each name counts. */
export type OriginalNames = {
  /** By the name in lower case. */
  readonly byName: ReadonlyMap<string, string>
  readonly others: 'lower' | 'proper'
}

/** @returns how names that the other side did not write are written; undefined: none are kept */
export function findKeptCase(how: HeaderCase | undefined): OriginalNames['others'] | undefined {
  return how?.kind === 'preserve' ? how.others : undefined
}

/**
 * @param head as it would be sent, start line included
 * @param how of the side that it goes to @param names as the other side wrote them, where they are kept
 */
export function writeHeaderCase(head: string, how: HeaderCase | undefined, names: OriginalNames | undefined): string {
  if (names)
    return replaceNames(
      head,
      (name) => names.byName.get(name) ?? (names.others === 'proper' ? toProperCase(name) : name),
    )
  return how?.kind === 'proper' ? replaceNames(head, toProperCase) : head
}

function replaceNames(head: string, write: (name: string) => string): string {
  return head.replace(/\r\n([^\r\n:]+):/g, (_, name: string) => `\r\n${write(name)}:`)
}

/** Envoy's proper_case_words: a letter behind anything that is neither a letter nor a digit is a capital. */
function toProperCase(name: string): string {
  return name.replace(/(^|[^a-z0-9])([a-z])/gi, (_, before: string, letter: string) => before + letter.toUpperCase())
}
