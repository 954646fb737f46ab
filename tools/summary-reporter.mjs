// Prints each failure with its place and cause, then one closing line: `tests: N passed, N failed, N skipped`.
export default async function* summary(source) {
  let passed = 0,
    failed = 0,
    skipped = 0
  for await (const { type, data } of source) {
    if (type === 'test:pass' && data.details?.type !== 'suite') {
      if (data.skip !== undefined) skipped++
      else passed++
    }
    if (type === 'test:fail' && data.details?.type !== 'suite') {
      failed++
      const cause = data.details.error?.cause ?? data.details.error
      yield `\nFAILED ${data.file}:${data.line} ${data.name}\n${cause?.stack ?? cause}\n`
    }
  }
  yield `\ntests: ${passed} passed, ${failed} failed, ${skipped} skipped\n`
}
