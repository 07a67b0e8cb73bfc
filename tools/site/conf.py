"Settings of Sphinx for tools/make_site.py, which copies this file beside the pages"
project = 'captcha_fastai'
author = 'captcha_fastai contributors'
extensions = ['myst_nb', 'sphinx_copybutton', 'sphinx.ext.mathjax']
html_theme = 'furo'
html_title = 'captcha_fastai'
html_static_path = ['_static']
html_css_files = ['site.css']
html_copy_source = False
html_show_sphinx = False
html_show_copyright = False
html_theme_options = dict(
    source_repository='', navigation_with_keys=True,
    light_css_variables={'color-brand-primary': '#0b5cad', 'color-brand-content': '#0b5cad'},
    dark_css_variables={'color-brand-primary': '#7ab8ff', 'color-brand-content': '#7ab8ff'})
nb_execution_mode = 'off'
nb_merge_streams = True
myst_enable_extensions = ['dollarmath', 'colon_fence', 'fieldlist']
myst_heading_anchors = 4
myst_dmath_double_inline = True
mathjax_path = 'mathjax/tex-chtml.js'
mathjax3_config = {'options': {'enableMenu': False}, 'chtml': {'scale': .95}}
maximum_signature_line_length = 70
add_module_names = False
toc_object_entries = False
copybutton_selector = 'div.highlight:not(.output *) pre'
pygments_dark_style = 'github-dark'
