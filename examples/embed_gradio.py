"""The alert panel in a tab of another Gradio app: python embed_gradio.py.

WALLTRACK_DATABASE_URL names the database, DESK_USERS the users with passwords:
DESK_USERS='[["ada", "secret"], ["bob", "hidden"]]'.
"""

import json
import os

import gradio as gr

from walltrack_alerts.ui import GradioAccess, create_alerts_panel

with gr.Blocks(title="Trading desk") as app:
    gr.Markdown("# Trading desk", elem_id="heading")
    with gr.Tab("Positions"):
        gr.Dataframe([["BONK", 1.5], ["WIF", 0.7]], headers=["token", "SOL"], elem_id="positions")
        gr.Button("Trade", elem_id="trade")
    with gr.Tab("Alerts"):
        # Users act under their login name; bob is a reader.
        create_alerts_panel(os.environ["WALLTRACK_DATABASE_URL"], access=GradioAccess(readers=["bob"]))

if __name__ == "__main__":
    app.launch(
        server_port=int(os.environ.get("PORT", "7861")),
        auth=[tuple(user) for user in json.loads(os.environ["DESK_USERS"])],
        footer_links=[],
        show_error=False,
        ssr_mode=False,
    )
