// ---- title, favicon, sound and browser notification: what reaches somebody who looks elsewhere ----
