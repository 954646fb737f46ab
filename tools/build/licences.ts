/** The licence texts of the packages that are inside the bundles. */
import fs from 'node:fs'
import path from 'node:path'

type Lock = {
  readonly packages: Readonly<
    Record<string, { readonly dev?: boolean; readonly optional?: boolean; readonly license?: string }>
  >
}

/**
 * Name → text of every package that is installed and not for development alone. Throws when one has no licence.
 * @param root of the repository
 */
export function readLicences(root: string): Map<string, string> {
  const { packages } = JSON.parse(fs.readFileSync(path.join(root, 'package-lock.json'), 'utf8')) as Lock
  const found = new Map<string, string>()
  for (const [folder, { dev, license }] of Object.entries(packages)) {
    const at = path.join(root, folder)
    if (folder === '' || dev === true || !fs.existsSync(at)) continue
    const files = fs
      .readdirSync(at)
      .filter((name) => /^(licen[cs]e|notice|copying)/i.test(name))
      .sort()
    const text = files.map((name) => fs.readFileSync(path.join(at, name), 'utf8')).join('\n')
    if (text === '' && license === undefined) throw new Error(`${folder} has no licence`)
    found.set(
      folder.slice(folder.lastIndexOf('node_modules/') + 'node_modules/'.length),
      text === '' ? `Licence: ${license}, of which the package brings no text.\n` : text,
    )
  }
  return found
}
