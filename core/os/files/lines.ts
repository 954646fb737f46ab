import type { TimeSlice } from '../time-slice.ts'

/** @param take called with each line, without its line feed, and its number from 1 on; what it throws rejects */
export async function walkLines(
  text: string,
  slice: TimeSlice,
  take: (line: string, number: number) => void,
): Promise<void> {
  let number = 0
  for (let from = 0; from < text.length;) {
    const end = text.indexOf('\n', from)
    take(text.slice(from, end < 0 ? undefined : end), ++number)
    from = end < 0 ? text.length : end + 1
    if (slice.due) await slice.yield()
  }
}
