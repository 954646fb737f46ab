/** What root does in a state folder, beside a service that has a user of its own. */
import fs from 'node:fs'

/**
 * Runs `work` with the rights of the folder's owner when this process is root's and the folder is not: what is made
 * there must be the service's, which would refuse it otherwise, and root follows no name that another user may have put
 * there. An owner who does not reach the folder (DynamicUser=) has no part in it.
 */
export function asOwner<T>(folder: string, work: () => T): T {
  const { uid, gid } = fs.statSync(folder)
  const own = process.getegid?.() ?? 0
  if (process.geteuid?.() !== 0 || uid === 0) return work()
  const become = (user: number, group: number): void => {
    process.setegid!(group)
    process.seteuid!(user)
  }
  const back = (): void => {
    process.seteuid!(0)
    process.setegid!(own)
  }
  become(uid, gid)
  try {
    if (isReached(folder)) return work()
  } finally {
    back()
  }
  return work()
}

export const isOwnFolder = (folder: string): boolean => fs.statSync(folder).uid === process.geteuid?.()

function isReached(folder: string): boolean {
  try {
    fs.readdirSync(folder)
    return true
  } catch {
    return false
  }
}
